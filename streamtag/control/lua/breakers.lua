-- Opens or closes breakers of labels, with the audit entry and the announcement.
--
-- KEYS  1 breakers  2 the same by number, kept  3 audit stream  4 audit head
-- ARGV  1 expected document ("" = none ever)  2 new document  3 channel  4… audit entry, see shared.lua
--
-- Returns {"done"}, {"moved"}, or {"audit moved"}.

local present = redis.call('GET', KEYS[1]) or ''
-- The reply of an earlier try was lost on its way.
if present == ARGV[2] then
  return {'done'}
end
if present ~= ARGV[1] then
  return {'moved'}
end
if audit_moved(KEYS[4], 4) then
  return {'audit moved'}
end

append_audit(KEYS[3], KEYS[4], 4)
redis.call('SET', KEYS[2], ARGV[2])
redis.call('SET', KEYS[1], ARGV[2])
redis.call('PUBLISH', ARGV[3], 'breakers')
return {'done'}
