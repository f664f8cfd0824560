-- What several scripts do; put before each of them (streamtag/control/connection.py).

-- Every audit entry is a link of a chain: it holds the hash of the one before. Redis' Lua knows SHA-1 only, so the
-- caller computes the hash (streamtag/domain/audit_chain.py) from a head that must still be the head here.
--
-- ARGV from `at` to the end: expected head ("" = none yet), then field, value, …; `number` comes first, `sha256` last.

local function audit_moved(head, at)
  return (redis.call('HGET', head, 'sha256') or '') ~= ARGV[at]
end

-- To be called before anything else is written: were the stream damaged, the script fails here, and nothing has changed.
local function append_audit(stream, head, at)
  redis.call('XADD', stream, '*', unpack(ARGV, at + 1))
  redis.call('HSET', head, 'number', ARGV[at + 2], 'sha256', ARGV[#ARGV])
end

-- The document of a freeze that holds now; false where none does. Its end is compared with this server's clock.
local function frozen(key)
  local found = redis.call('HMGET', key, 'document', 'until_ms')
  if not found[1] then
    return false
  end
  local now = redis.call('TIME')
  local now_ms = tonumber(now[1]) * 1000 + math.floor(tonumber(now[2]) / 1000)
  if (found[2] or '') ~= '' and now_ms >= tonumber(found[2]) then
    return false
  end
  return found[1]
end

-- A change request goes on together with what it does.
--
-- ARGV from `at`: expected document ("" = no request goes on), new document, number, when to look at it, ms ("" = never),
--   its place among requests by state (streamtag/control/change_index.py)

local function request_moved(key, at)
  return ARGV[at] ~= '' and redis.call('GET', key) ~= ARGV[at]
end

local function write_request(key, due, by_state, at)
  if ARGV[at + 1] == '' then
    return
  end
  redis.call('SET', key, ARGV[at + 1])
  redis.call('ZADD', by_state, ARGV[at + 4], ARGV[at + 2])
  if ARGV[at + 3] == '' then
    redis.call('ZREM', due, ARGV[at + 2])
  else
    redis.call('ZADD', due, ARGV[at + 3], ARGV[at + 2])
  end
end

