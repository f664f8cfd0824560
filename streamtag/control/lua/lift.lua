-- Lifts every stop mark of a group and remembers which: a copy of a mark on a worker's disk is then void, too.
-- What may pass is written in the same step: no worker goes on without knowing it.
--
-- KEYS  1 marks (hash: id -> mark)  2 ids of lifted marks (sorted set by time)  3 audit stream  4 audit head
--       5 what may pass
-- ARGV  1 now, ms  2 what may pass  3… audit entry, see shared.lua
--
-- Returns the lifted marks, none where none stood; or {"audit moved"}.

local ids = redis.call('HKEYS', KEYS[1])
local marks = redis.call('HVALS', KEYS[1])
if #ids == 0 then
  return {}
end
if audit_moved(KEYS[4], 3) then
  return {'audit moved'}
end
append_audit(KEYS[3], KEYS[4], 3)
for _, id in ipairs(ids) do
  redis.call('ZADD', KEYS[2], ARGV[1], id)
end
redis.call('DEL', KEYS[1])
redis.call('SET', KEYS[5], ARGV[2])
return marks
