-- Sets or lifts a freeze, with its audit entry.
--
-- KEYS  1 freeze  2 audit stream  3 audit head
-- ARGV  1 expected document ("" = none holds)  2 new document ("" = none)  3 until, ms ("" = until it is lifted)
--       4… audit entry, see shared.lua
--
-- Returns {"done"}, {"moved", document that holds ("" = none)}, or {"audit moved"}.

local present = frozen(KEYS[1]) or ''
-- The reply of an earlier try was lost on its way. Of a lifting, the hash of its audit entry is left behind.
if ARGV[2] ~= '' and present == ARGV[2]
    or ARGV[2] == '' and redis.call('HGET', KEYS[1], 'lifted') == ARGV[#ARGV] then
  return {'done'}
end
if present ~= ARGV[1] then
  return {'moved', present}
end
if audit_moved(KEYS[3], 4) then
  return {'audit moved'}
end

append_audit(KEYS[2], KEYS[3], 4)
redis.call('HDEL', KEYS[1], 'document', 'until_ms')
if ARGV[2] ~= '' then
  redis.call('HSET', KEYS[1], 'document', ARGV[2], 'until_ms', ARGV[3])
else
  redis.call('HSET', KEYS[1], 'lifted', ARGV[#ARGV])
end
return {'done'}
