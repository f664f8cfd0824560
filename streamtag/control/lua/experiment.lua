-- Changes which experiments run, all or nothing: compare-and-set, documents, alias, audit, publish.
--
-- KEYS  1 experiments  2 champion  3 heads  4 change document  5 experiment document  6 release document
--       7 revision document  8 verdict document  9 audit stream  10 audit head  11 freeze  12 change request
--       13 change requests by when to look at them  14 by state
-- ARGV  1 expected experiments ("" = none ever)  2 new experiments  3 expected champion ("" = whichever)  4 channel
--       5 change number  6 change document
--       then, each with "" as the document where none is new:
--       7 experiment number  8 document  9 release number  10 document  11 revision number  12 document
--       13 experiment number of the verdict  14 document
--       15 "bound" where a freeze holds it up  16…20 change request and 21… audit entry, see shared.lua
--
-- Returns {"committed"}, {"conflict", "experiments" or "champion"}, {"taken", what}, {"frozen", document},
-- {"request moved"}, or {"audit moved"}.

-- The reply of an earlier try was lost on its way: see commit.lua.
if redis.call('GET', KEYS[4]) == ARGV[6] then
  return {'committed'}
end
if (redis.call('GET', KEYS[1]) or '') ~= ARGV[1] then
  return {'conflict', 'experiments'}
end
if ARGV[3] ~= '' and redis.call('GET', KEYS[2]) ~= ARGV[3] then
  return {'conflict', 'champion'}
end
local freeze = ARGV[15] == 'bound' and frozen(KEYS[11])
if freeze then
  return {'frozen', freeze}
end
if request_moved(KEYS[12], 16) then
  return {'request moved'}
end

-- Documents are immutable and numbers are never reused. A verdict has the number of its experiment, and they end in
-- any order: it counts nothing up.
local kinds = {'experiment-change', 'experiment', 'release', 'revision', 'verdict'}
local new = {}
for i, kind in ipairs(kinds) do
  local document = {kind = kind, key = KEYS[3 + i], number = ARGV[3 + 2 * i], raw = ARGV[4 + 2 * i]}
  if document.raw ~= '' then
    local highest = kind ~= 'verdict' and tonumber(redis.call('HGET', KEYS[3], kind) or '0') or 0
    if redis.call('EXISTS', document.key) == 1 or tonumber(document.number) <= highest then
      return {'taken', kind .. ' ' .. document.number}
    end
    table.insert(new, document)
  end
end

if audit_moved(KEYS[10], 21) then
  return {'audit moved'}
end

append_audit(KEYS[9], KEYS[10], 21)
for _, document in ipairs(new) do
  redis.call('SET', document.key, document.raw)
  if document.kind ~= 'verdict' then
    redis.call('HSET', KEYS[3], document.kind, document.number)
  end
end
redis.call('SET', KEYS[1], ARGV[2])
write_request(KEYS[12], KEYS[13], KEYS[14], 16)
redis.call('PUBLISH', ARGV[4], ARGV[2])
return {'committed'}
