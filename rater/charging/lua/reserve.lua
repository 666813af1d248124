-- Check limits, take leases, reserve the first slice and write the leg: or deny, and record the denial.
--
-- KEYS  1 leg  2 epoch of the switch  3 switches  4 account  5 legs of the switch  6 accounts  7 ledger  8 outbox
--       9… one lease set for each limit, then one rate for each call rate; then, where there is a group or a spend
--       cap: account of the group's owner (any key without one), spend, that owner's spend (as that)
-- ARGV  1 number of the operation, epoch (text), now_ms, account, leg, switch, exempt (0, 1), first_s, reason of a limit kept
--         elsewhere that is reached or 0 (see limits.lua), for each lease: most legs, reason; packed; the leg's needs, packed,
--         as they are kept with it; operation id, short_s; packed one after the other
--       2 quote, packed   3 facts, a msgpack map   4 terms, see chain.lua; packed
--       5 for each call rate: most attempts a second, reason; packed; left off without one
-- Writes  account, leg, legs, lease sets, rates, spend, ledger (when a grant opens or closes), the owner's account; when
--         denied: the leg's tombstone, outbox `denied`; the epoch when it is newer.
-- Returns a reply: ok (reason: what a rule in shadow would have denied it for), denied (reason), stale, gone (the leg was
-- settled); or 6 and where an account is. A repeat gets the first answer.
-- uses: prelude legs quote grants chain walk spend limits quick plans

local rest, n, epoch, now, account_id, leg_id, switch, exempt, first_s, broken, limits, needs = unpack_some(ARGV[1], 11)
local owner_id, rates = known(ARGV[4])[6], known(ARGV[5] or '')
limits = known(limits)
local FIRST_LEASE, FIRST_RATE = 9, 9 + #limits / 2
local OWNER = FIRST_RATE + #rates / 2
local held = owner_id == '' and call('MGET', KEYS[1], KEYS[2], KEYS[4])
  or call('MGET', KEYS[1], KEYS[2], KEYS[4], KEYS[OWNER])
if held[2] ~= epoch and is_stale(held[2], epoch, KEYS[2], KEYS[3], switch) then return STALE end
if held[1] then
  local stored = {unpack_all(held[1])}
  local last, reply = stored[2], stored[3]
  if n == last then return reply .. '\1' end
  if stored[1] ~= 0 then
    local leg = leg_of(stored)
    return pack(0, 0, leg.granted, leg.final, 0, 0, 0, 1)
  end
  if n < last then return pack(2, 71, 0, 0, 0, 0, 0, 1) end
  if stored[4] == 0 then return pack(2, 71, 0, 0, 0, 0, 0, 0) end
end

if KEPT and not held[1] and exempt == 0 and broken == 0 and not ARGV[5] then
  local reply = carry_out_quickly(KEYS, ARGV, held[3], FIRST_LEASE, limits, needs, n, now, first_s, account_id, leg_id, switch)
  if reply then return reply end
end
if away(held[3]) then return '\6\0' .. held[3] end
if owner_id ~= '' and away(held[4]) then return '\6\1' .. held[4] end
local _, op, short = unpack_some(ARGV[1], 2, rest)
local floor, use_money, seconds_order, money_order, shadow, _, allowances, share, spend_caps, of_money, of_allowance, of_spend,
  bands = unpack(known(ARGV[4]))
begin_limits()
short_s, account = short, account_of(held[3])
local terms = terms_of(allowances)
use_quote(ARGV[2])
renew(account, lines, terms, now)
if owner_id ~= '' then
  owner = account_of(held[4])
  theirs = shared_view(share, 0)
  renew(account, lines, theirs.quotas, now)
  renew(owner, owner_lines, theirs.terms, now)
end

local passed = {}
if exempt == 0 then
  if spend_caps ~= '' then use_spend(spend_caps, call('GET', KEYS[OWNER + 1])) end
  if theirs and theirs.spend_caps ~= '' then use_owner_spend(theirs.spend_caps, call('GET', KEYS[OWNER + 2])) end
  breaks(broken)
  for i = 1, #limits, 2 do
    if legs_under(KEYS[FIRST_LEASE + (i - 1) / 2], limits[i], now) >= limits[i] then breaks(limits[i + 1]) end
  end
  for i = 1, #rates, 2 do
    local k = (i + 1) / 2
    passed[k] = recent(call('GET', KEYS[FIRST_RATE + k - 1]), now, rates[i])
    if #passed[k] >= rates[i] then breaks(rates[i + 1]) end
  end
end
-- A leg that is free however long draws on nothing, unless its allowance blocks when it is exhausted.
if exempt == 1 or (price(q_horizon) == 0 and not (use_money == 0 and #terms > 0)) then draws = 0 end
start = now
ours = view_of(account, lines, terms, floor, use_money, seconds_order, money_order, 2 * (account[9] + draws))
ours.bands = bands
if theirs then theirs.sharers = 2 * (owner[9] + draws) end
if reason == 0 then
  walk(increment_end(first_s))
  if granted == 0 then
    breaks((shadow == 1 and -1 or 1) * shortage(#terms > 0, of_money, of_allowance, of_spend))
    if shadow == 1 then
      relax()
      walk(increment_end(first_s))
      if granted == 0 then reason = of_money end
    end
  end
elseif reason > of_spend and draws == 1 then
  -- A spent cap stands before the reason found.
  look(start)
  if not more() then breaks(shortage(#terms > 0, of_money, of_allowance, of_spend)) end
end

-- What was renewed is kept, and told, even when nothing was had.
local function note_renewal()
  if #lines > 0 then
    if not held[3] then call('SADD', KEYS[6], account_id) end
    call('XADD', KEYS[7], '*', 'account', account_id, 'e', pack(op, now, '', unpack(lines)))
  end
  if #owner_lines > 0 then
    if not held[4] then call('SADD', KEYS[6], owner_id) end
    call('XADD', KEYS[7], '*', 'account', owner_id, 'e', pack(op, now, '', unpack(owner_lines)))
  end
end

if reason ~= 0 then
  local reply = pack(1, reason, 0, 0, 0, account[2], account[3])
  local packed = #lines > 0 and packed_account(account)
  local owner_packed = #owner_lines > 0 and packed_account(owner)
  call('SET', KEYS[1], pack(0, n, reply, 1), 'PX', DENIAL_KEPT_MS)
  if packed then call('SET', KEYS[4], packed) end
  if owner_packed then call('SET', KEYS[OWNER], owner_packed) end
  call('XADD', KEYS[8], '*', 'k', 'denied', 'f', ARGV[3],
    'r', '\131' .. pack('reason', reason, 'balance_micro', account[2], 'reserved_micro', account[3]))
  for i = FIRST_LEASE, FIRST_RATE - 1 do call('ZREMRANGEBYSCORE', KEYS[i], '-inf', now) end
  note_renewal()
  return reply .. '\0'
end

if caps or owner_caps then hold_more(0, 0, of_spend) end
local waits = draws == 1 and final == 1 and granted < q_horizon and 1 or 0
account[9], account[10] = account[9] + draws, account[10] + waits
local packed, reply = packed_account(account), answer_of(would, granted, final_told(#terms > 0), account[2], account[3])
local leased = lease_of(0, now, 0, granted)
local leg = packed_leg(n, reply, granted, final, 0, leased, -1, exempt, draws, owner_id, needs, ARGV[2], account_id, switch,
  now, ARGV[3], pieces)
if owner then
  owner[9], owner[10] = owner[9] + draws, owner[10] + waits
  call('MSET', KEYS[4], packed, KEYS[1], leg, KEYS[OWNER], packed_account(owner))
  if not held[4] and #owner_lines == 0 then call('SADD', KEYS[6], owner_id) end
else
  call('MSET', KEYS[4], packed, KEYS[1], leg)
end
call('SADD', KEYS[5], leg_id)
renew_leases(KEYS, FIRST_LEASE, FIRST_RATE - 1, leased, leg_id)
for k = 1, #passed do
  local times = passed[k]
  if #times >= rates[2 * k - 1] then table.remove(times, 1) end
  times[#times + 1] = now
  call('SET', KEYS[FIRST_RATE + k - 1], pack(unpack(times)), 'PX', RATE_KEPT_MS)
end
if not held[3] and #lines == 0 then call('SADD', KEYS[6], account_id) end
if caps or owner_caps then keep_held(KEYS[OWNER + 1], KEYS[OWNER + 2]) end
note_renewal()
if KEPT then note_plan(ARGV[4], packed, now) end
return reply
