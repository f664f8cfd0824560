-- Opens a change request or brings it forward, where nothing else changes with it.
--
-- KEYS  1 change request  2 change requests by when to look at them  3 heads  4 audit stream  5 audit head
--       6 change requests by state
-- ARGV  1 expected document ("" = a new one)  2 new document  3 number  4 when to look at it, ms ("" = never)
--       5 its place among those by state  6… audit entry, see shared.lua
--
-- Returns {"done"}, {"request moved"}, {"taken"}, or {"audit moved"}.

local present = redis.call('GET', KEYS[1]) or ''
-- The reply of an earlier try was lost on its way.
if present == ARGV[2] then
  return {'done'}
end
if ARGV[1] == '' then
  local highest = tonumber(redis.call('HGET', KEYS[3], 'change-request') or '0') or 0
  if present ~= '' or tonumber(ARGV[3]) <= highest then
    return {'taken'}
  end
elseif present ~= ARGV[1] then
  return {'request moved'}
end
if audit_moved(KEYS[5], 6) then
  return {'audit moved'}
end

append_audit(KEYS[4], KEYS[5], 6)
write_request(KEYS[1], KEYS[2], KEYS[6], 1)
if ARGV[1] == '' then
  redis.call('HSET', KEYS[3], 'change-request', ARGV[3])
end
return {'done'}
