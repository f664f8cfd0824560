-- Makes a release the champion, all or nothing: compare-and-set, documents, alias, change request, audit, publish.
--
-- KEYS  1 champion  2 heads  3 release document  4 revision document  5 audit stream  6 audit head  7 freeze
--       8 change request  9 change requests by when to look at them  10 by state
-- ARGV  1 expected champion ("" = none)  2 new champion  3 release number  4 release document
--       5 revision number  6 revision document ("" = an existing one is kept)  7 channel
--       8 "bound" where a freeze holds it up  9…13 change request and 14… audit entry, see shared.lua
--
-- Returns {"committed"}, {"conflict", present champion}, {"taken", what}, {"frozen", document}, {"request moved"}, or
-- {"audit moved"}. Documents are opaque: cjson would cut floats and lose empty lists.

local present = redis.call('GET', KEYS[1]) or ''

-- The reply of an earlier try was lost on its way: the change is in, say so instead of a conflict with ourselves.
if redis.call('GET', KEYS[3]) == ARGV[4] then
  return {'committed'}
end
if present ~= ARGV[1] then
  return {'conflict', present}
end
local freeze = ARGV[8] == 'bound' and frozen(KEYS[7])
if freeze then
  return {'frozen', freeze}
end
if request_moved(KEYS[8], 9) then
  return {'request moved'}
end

-- Documents are immutable and numbers are never reused.
local new_revision = ARGV[6] ~= ''
if redis.call('EXISTS', KEYS[3]) == 1
    or tonumber(ARGV[3]) <= (tonumber(redis.call('HGET', KEYS[2], 'release') or '0') or 0) then
  return {'taken', 'release ' .. ARGV[3]}
end
if new_revision and (redis.call('EXISTS', KEYS[4]) == 1
    or tonumber(ARGV[5]) <= (tonumber(redis.call('HGET', KEYS[2], 'revision') or '0') or 0)) then
  return {'taken', 'threshold revision ' .. ARGV[5]}
end
if audit_moved(KEYS[6], 14) then
  return {'audit moved'}
end

append_audit(KEYS[5], KEYS[6], 14)
if new_revision then
  redis.call('SET', KEYS[4], ARGV[6])
  redis.call('HSET', KEYS[2], 'revision', ARGV[5])
end
redis.call('SET', KEYS[3], ARGV[4])
redis.call('HSET', KEYS[2], 'release', ARGV[3])
redis.call('SET', KEYS[1], ARGV[2])
write_request(KEYS[8], KEYS[9], KEYS[10], 9)
redis.call('PUBLISH', ARGV[7], ARGV[2])
return {'committed'}
