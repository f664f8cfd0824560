-- Writes a stop mark, unless a person has lifted this very mark before: the copy on a worker's disk is void then.
--
-- KEYS  1 marks (hash: id -> mark)  2 ids of lifted marks (sorted set)
-- ARGV  1 id  2 mark
--
-- Returns 1 where the mark stands, 0 where it was lifted.

if redis.call('ZSCORE', KEYS[2], ARGV[1]) then
  return 0
end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
return 1
