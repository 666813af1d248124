-- Write down in which shard an account lives after a move, unless a later move was written down before.
--
-- KEYS  1 the accounts' shards, a hash
-- ARGV  1 account  2 shard  3 number of the move
-- Writes  the account's field, and that of the number beside it.
-- Returns 1, or 0 when a later move is known.

local known = redis.call('HGET', KEYS[1], 'move:' .. ARGV[1])
if known and tonumber(known) >= tonumber(ARGV[3]) then return 0 end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2], 'move:' .. ARGV[1], ARGV[3])
return 1
