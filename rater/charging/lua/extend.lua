-- Reserve the next slice and renew the leases.
-- KEYS  1 account  2 leg  3 epoch of the switch  4 ledger  5 live legs of the account
-- ARGV  1 msgpack {op, number, leg id, account id, epoch, now_ms, elapsed_s, terms, long_s, short_s}
--       2 prefix of the lease keys (their scopes stand in the leg; same hash tag as the keys above)
-- Returns a reply, see _lib.lua.
local a = cmsgpack.unpack(ARGV[1])
local op, number, id, now, terms = a[1], a[2], a[3], a[6], a[8]
local leg = load(KEYS[2])
if not leg or leg.z then return {GONE, 0, 0, 0, 0, 0, 0, 0} end
if leg.n == number then return again(leg.y) end
if leg.n > number then return {OK, 0, leg.g, leg.f, 0, 0, 0, 1} end
if stale(KEYS[3], a[5]) then return {STALE, 0, 0, 0, 0, 0, 0, 0} end
local account = load(KEYS[1]) or new_account()
local target = a[7] + a[9]
if leg.g < target then
  local entries = renew(account, terms[3])
  local granted = leg.g
  grow(account, leg, terms, target, a[10], redis.call('ZCARD', KEYS[5]))
  if leg.g > granted or #entries > 0 then redis.call('SET', KEYS[1], cmsgpack.pack(account)) end
  for _, e in ipairs(entries) do note(KEYS[4], op, a[4], e[1], e[2], e[3], e[4], now) end
end
leg.n, leg.s = number, now
leg.y = {OK, 0, leg.g, leg.f, 0, account.b, account.r, 0}
keep(KEYS[2], leg, LEG_KEPT_MS)
local expires = string.format('%.0f', now + math.max(0, leg.g - a[7]) * 1000 + LEASE_GRACE_MS)
for _, scope in ipairs(leg.l) do
  redis.call('ZADD', ARGV[2] .. scope, 'XX', expires, id)
end
return leg.y
