-- Check limits, take leases, reserve the first slice and write the leg; or record the denial.
-- KEYS  1 account  2 leg  3 epoch of the switch  4 outbox  5 ledger  6 live legs of the switch
--       7 live legs of the account  8 accounts of the shard  9.. one per limit
-- ARGV  1 msgpack {op, number, leg id, account id, switch, epoch, now_ms, quote, terms, first_s, short_s, exempt,
--         facts, limits {scope, limit, reason}, credit reason, allowance reason}
-- Writes the account, the leg, the leases, the indexes; on denial only the outbox (and an allowance's renewal).
-- Returns a reply, see _lib.lua. Repeating it returns the first answer.
local a = cmsgpack.unpack(ARGV[1])
local op, number, id, name, now, q, terms = a[1], a[2], a[3], a[4], a[7], a[8], a[9]
local known = load(KEYS[2])
if known then
  if known.n == number then return again(known.y) end
  return {known.z and GONE or OK, 0, known.g or 0, known.f or 0, 0, 0, 0, 1}
end
if stale(KEYS[3], a[6]) then return {STALE, 0, 0, 0, 0, 0, 0, 0} end
local account = load(KEYS[1])
local fresh = not account
account = account or new_account()
local entries = renew(account, terms[3])
local reason = 0
if a[12] == 0 then
  for i, limit in ipairs(a[14]) do
    local key = KEYS[8 + i]
    local count = redis.call('ZCARD', key)
    if count >= limit[2] then
      redis.call('ZREMRANGEBYSCORE', key, '-inf', string.format('%.0f', now))
      count = redis.call('ZCARD', key)
    end
    if count >= limit[2] and (reason == 0 or limit[3] < reason) then reason = limit[3] end
  end
end
local leg = {a = name, w = a[5], q = q, p = {}, k = {}, g = 0, f = 0, n = number, t = now, h = 0, s = now, e = a[12],
  i = a[13], l = {}}
if reason == 0 then
  grow(account, leg, terms, a[10], a[11], redis.call('ZCARD', KEYS[7]) + 1)
  if leg.g == 0 or (leg.g <= q[3] and leg.g < q[2] and not is_free(q) and #terms[3] == 0 and account.b - terms[1] <= 0)
  then
    reason = terms[2] == 1 and a[15] or a[16]
  end
end
if #entries > 0 or reason == 0 then
  if reason ~= 0 then
    account = load(KEYS[1]) or new_account()
    renew(account, terms[3])
  end
  redis.call('SET', KEYS[1], cmsgpack.pack(account))
  if fresh then redis.call('SADD', KEYS[8], name) end
  for _, e in ipairs(entries) do note(KEYS[5], op, name, e[1], e[2], e[3], e[4], now) end
end
if reason ~= 0 then
  local reply = {DENIED, reason, 0, 0, 0, account.b, account.r, 0}
  redis.call('XADD', KEYS[4], '*', 'k', 'denied', 'f', a[13],
    'r', cmsgpack.pack({reason = reason, balance_micro = account.b, reserved_micro = account.r}))
  keep(KEYS[2], {n = number, y = reply, z = 1}, TOMBSTONE_MS)
  return reply
end
local expires = string.format('%.0f', now + leg.g * 1000 + LEASE_GRACE_MS)
for i, limit in ipairs(a[14]) do
  leg.l[i] = limit[1]
  redis.call('ZADD', KEYS[8 + i], expires, id)
end
redis.call('ZADD', KEYS[6], string.format('%.0f', now), id)
redis.call('ZADD', KEYS[7], string.format('%.0f', now), id)
local reply = {OK, 0, leg.g, leg.f, 0, account.b, account.r, 0}
leg.y = reply
keep(KEYS[2], leg, LEG_KEPT_MS)
return reply
