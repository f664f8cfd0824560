-- Stores one worker's heartbeat, dated by this server's clock: ages must not depend on the workers' clocks.
--
-- KEYS  1 index (sorted set: worker -> time of its last heartbeat, ms)  2 heartbeat
-- ARGV  1 worker  2 heartbeat  3 time to live, ms

local now = redis.call('TIME')
local now_ms = tonumber(now[1]) * 1000 + math.floor(tonumber(now[2]) / 1000)
redis.call('SET', KEYS[2], ARGV[2], 'PX', ARGV[3])
redis.call('ZADD', KEYS[1], string.format('%.0f', now_ms), ARGV[1])
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', string.format('(%.0f', now_ms - tonumber(ARGV[3])))
return string.format('%.0f', now_ms)
