-- Charge what was talked, give back the rest, free the leases, append the rated event.
-- KEYS  1 account  2 leg  3 epoch of the switch  4 outbox  5 ledger  6 live legs of the switch
--       7 live legs of the account
-- ARGV  1 msgpack {op, number, leg id, account id, epoch, now_ms, duration_s or -1, terms, emit, facts}
--       2 prefix of the lease keys  3 the channel on which waiting legs are told that money came back
-- Returns a reply, see _lib.lua. The charge is capped at the paid slices.
local a = cmsgpack.unpack(ARGV[1])
local op, number, id, name, now, terms = a[1], a[2], a[3], a[4], a[6], a[8]
local leg = load(KEYS[2])
if not leg then return {GONE, 0, 0, 0, 0, 0, 0, 0} end
if leg.n == number then return again(leg.y) end
if leg.z then return {GONE, 0, 0, 0, 0, 0, 0, 0} end
if stale(KEYS[3], a[5]) then return {STALE, 0, 0, 0, 0, 0, 0, 0} end
local account = load(KEYS[1]) or new_account()
local q = leg.q
local used = math.max(0, math.min(a[7], leg.g))
local charged, released, pieces, used_before, entries = 0, 0, {}, {}, {}
for _, p in ipairs(leg.p) do
  local from, to = p[2], math.min(p[3], used)
  local amount = 0
  if p[1] == '' then
    if to > from and p[4] > 0 then amount = cumulative(q, to) - cumulative(q, from) end
    charged = charged + amount
    account.r = account.r - p[4]
    released = released + p[4] - amount
  else
    local k = leg.k[p[1]]
    if to > from then amount = counted(k, to) - counted(k, from) end
    local grant = find_grant(account, p[1])
    if grant and grant[5] == p[5] then
      if used_before[p[1]] == nil then used_before[p[1]] = grant[3] end
      grant[4] = grant[4] - p[4]
      if amount > 0 then
        local left = grant[2] - grant[3]
        entries[#entries + 1] = {p[1], 'call', left, left - amount}
        grant[3] = grant[3] + amount
      end
    end
    released = released + p[4] - amount
  end
  if to > from then pieces[#pieces + 1] = {p[1], from, to, amount} end
end
local before = account.b
account.b = before - charged
account.x = account.x + charged
local found = crossings(terms[4], before, account.b, used_before, account)
redis.call('SET', KEYS[1], cmsgpack.pack(account))
if charged > 0 then note(KEYS[5], op, name, 'money', 'call', before, account.b, now) end
for _, e in ipairs(entries) do note(KEYS[5], op, name, e[1], e[2], e[3], e[4], now) end
if a[9] == 1 then
  redis.call('XADD', KEYS[4], '*', 'k', 'rated', 'f', a[10],
    'r', cmsgpack.pack({amount_micro = charged, pieces = pieces, duration_s = used, granted_s = leg.g,
      balance_before_micro = before, balance_after_micro = account.b, quote = q}))
end
report(KEYS[4], found, name, op, now)
for _, scope in ipairs(leg.l) do redis.call('ZREM', ARGV[2] .. scope, id) end
redis.call('ZREM', KEYS[6], id)
redis.call('ZREM', KEYS[7], id)
local reply = {OK, 0, leg.g, leg.f, charged, account.b, account.r, 0}
keep(KEYS[2], {n = number, y = reply, z = 1}, TOMBSTONE_MS)
if released > 0 and redis.call('ZCARD', KEYS[7]) > 0 then redis.call('PUBLISH', ARGV[3], name) end
return reply
