-- Write a leader's epoch into one shard, where every charging script checks it.
--
-- KEYS  1 epoch of the switch  2 switches
-- ARGV  1 epoch  2 switch
-- Writes  both, when the epoch is newer than the one there.
-- Returns the epoch that the shard had: one that a new leader's does not exceed means that the leadership's own record
-- was lost.

local known = tonumber(redis.call('GET', KEYS[1]) or '0')
local epoch = tonumber(ARGV[1])
if epoch <= known then return known end
redis.call('SET', KEYS[1], ARGV[1])
redis.call('SADD', KEYS[2], ARGV[2])
return known
