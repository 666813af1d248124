-- Take, or renew, leases outside the account's shard (a reseller's), all or none.
--
-- KEYS  1 epoch of the switch  2 switches  3… one lease set for each limit
-- ARGV  1 epoch (text), now_ms, leg, switch, until_ms, forced (0, 1: whatever the limits); then for each limit: most
--         legs, reason (below zero: of a rule in shadow); packed one after the other
-- Writes  lease sets; the epoch when it is newer.
-- Returns a reply: ok (reason: what a rule in shadow would have denied it for), denied (reason), stale. A leg that has
-- its lease already is not counted against itself, so that a repeat gets what the first got.
-- uses: prelude

local values = {unpack_all(ARGV[1])}
local epoch, now, leg_id, switch, expiry, forced = unpack(values)
if is_stale(call('GET', KEYS[1]), epoch, KEYS[1], KEYS[2], switch) then return STALE end

local reason, would = 0, 0
if forced == 0 then
  for i = 3, #KEYS do
    local most, broken = values[2 * i + 1], values[2 * i + 2]
    local own = call('ZSCORE', KEYS[i], leg_id)
    local others = call('ZCOUNT', KEYS[i], now + 1, '+inf') - ((own and tonumber(own) > now) and 1 or 0)
    if others >= most then
      if broken > 0 and (reason == 0 or broken < reason) then reason = broken end
      if broken < 0 and (would == 0 or -broken < would) then would = -broken end
    end
  end
end
for i = 3, #KEYS do call('ZREMRANGEBYSCORE', KEYS[i], '-inf', now) end
if reason ~= 0 then return pack(1, reason, 0, 0, 0, 0, 0, 0) end
for i = 3, #KEYS do call('ZADD', KEYS[i], expiry, leg_id) end
return pack(0, would, 0, 0, 0, 0, 0, 0)
