-- Free leases outside the account's shard.
--
-- KEYS  1 epoch of the switch  2 switches  3… the lease sets
-- ARGV  1 epoch (text), leg, switch; packed one after the other
-- Writes  lease sets; the epoch when it is newer.
-- Returns a reply: ok, also when there was nothing to free; stale.
-- uses: prelude

local epoch, leg_id, switch = unpack_all(ARGV[1])
if is_stale(call('GET', KEYS[1]), epoch, KEYS[1], KEYS[2], switch) then return STALE end
for i = 3, #KEYS do call('ZREM', KEYS[i], leg_id) end
return '\0\0\0\0\0\0\0\0'
