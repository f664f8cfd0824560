-- Lifts every stop mark of a group and remembers which: a copy of a mark on a worker's disk is then void, too.
--
-- KEYS  1 marks (hash: id -> mark)  2 ids of lifted marks (sorted set by time)  3 audit stream  4 audit head
-- ARGV  1 now, ms  2… audit entry, see shared.lua
--
-- Returns the lifted marks, none where none stood; or {"audit moved"}.

local ids = redis.call('HKEYS', KEYS[1])
local marks = redis.call('HVALS', KEYS[1])
if #ids == 0 then
  return {}
end
if audit_moved(KEYS[4], 2) then
  return {'audit moved'}
end
append_audit(KEYS[3], KEYS[4], 2)
for _, id in ipairs(ids) do
  redis.call('ZADD', KEYS[2], ARGV[1], id)
end
redis.call('DEL', KEYS[1])
return marks
