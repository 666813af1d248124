-- Reserve the leg's next slice and renew its leases.
--
-- KEYS  1 leg  2 epoch of the switch  3 switches  4 account  5 ledger  6 account of the owner of the group that the leg
--       draws on or may now (any key without one)  7 accounts  8 spend  9 that owner's spend (as 6)
--       10… the leg's lease sets
-- ARGV  1 number of the operation, epoch (text), now_ms, operation id, account, leg, switch, elapsed_s,
--         floor (micro-units), use_money (0, 1), long_s, short_s, seconds_order, money_order, owner of the group that
--         the account is in now or "", reasons when money is short, when an allowance is, when a spend cap is reached,
--         shadow (0, 1), seen_at_ms, needs as the leg has them; packed one after the other
--       2 allowances, see grants.lua; packed   3 what the group shares, see chain.lua; packed, or ""
--       4 spend caps, see spend.lua; packed   5 bands of the plan, see chain.lua; packed, or ""
-- Writes  leg, account, lease sets, spend, ledger (when a grant opens or closes), the owner's account; the epoch when newer.
-- Returns a reply: ok (granted_s as before when nothing more could be had; reason: what a rule in shadow would have ended
-- the leg for), stale, gone; or 5 and the needs, 6 and where an account is.
-- A leg draws on one group in its life; it joins it here when its account has come to be in one since it began.
-- uses: prelude quote grants chain walk spend limits

begin_limits()
local n, epoch, now, op, account_id, leg_id, switch, elapsed_s, floor, use_money, long_s, seconds_order, money_order,
  group_owner, of_money, of_allowance, of_spend, shadow, seen, needs
n, epoch, now, op, account_id, leg_id, switch, elapsed_s, floor, use_money, long_s, short_s, seconds_order,
  money_order, group_owner, of_money, of_allowance, of_spend, shadow, seen, needs = unpack_all(ARGV[1])
local held = KEYS[6] == KEYS[4] and call('MGET', KEYS[1], KEYS[2], KEYS[4])
  or call('MGET', KEYS[1], KEYS[2], KEYS[4], KEYS[6])
if is_stale(held[2], epoch, KEYS[2], KEYS[3], switch) then return STALE end
if not held[1] then return away(held[3]) and '\6\0' .. held[3] or GONE end
local leg = {unpack_all(held[1])}
if n == leg[2] then return leg[3] .. '\1' end
if leg[1] == 0 then return n < leg[2] and pack(2, 0, 0, 0, 0, 0, 0, 1) or GONE end
if n < leg[2] then return pack(0, 0, leg[6], leg[7], 0, 0, 0, 1) end
if leg[16] ~= needs then return '\5' .. leg[16] end

if away(held[3]) then return '\6\0' .. held[3] end
if away(held[4]) then return '\6\1' .. held[4] end
account = account_of(held[3])
use_quote(leg[14])
granted, final, draws, start = leg[6], leg[7], leg[10], now - elapsed_s * 1000
local waited = draws == 1 and final == 1 and granted < q_horizon and 1 or 0
local terms = terms_of(ARGV[2])
renew(account, lines, terms, now)
local joins = leg[8] == '' and group_owner ~= ''
if joins then leg[8], leg[16] = group_owner, pack(group_owner) .. string.sub(leg[16], 2) end
if leg[8] ~= '' then
  owner = account_of(held[4])
  if joins then owner[9], owner[10] = owner[9] + draws, owner[10] + waited end
  if leg[8] == group_owner then
    theirs = shared_view(ARGV[3], 2 * owner[9])
    renew(account, lines, theirs.quotas, now)
    renew(owner, owner_lines, theirs.terms, now)
  end
end
ours = view_of(account, lines, terms, floor, use_money, seconds_order, money_order, 2 * account[9])
ours.bands = ARGV[5]
for i = PIECES, #leg do pieces[i - PIECES + 1] = leg[i] end
if leg[9] == 0 and ARGV[4] ~= '' then use_spend(ARGV[4], call('GET', KEYS[8])) end
if theirs and leg[9] == 0 and theirs.spend_caps ~= '' then
  use_owner_spend(theirs.spend_caps, call('GET', KEYS[9]))
end
walk(increment_end(elapsed_s + long_s))
if shadow == 1 and draws == 1 and final == 1 and granted < q_horizon and elapsed_s + 1 >= granted then
  -- Here the leg would have ended.
  breaks(-shortage(#terms > 0, of_money, of_allowance, of_spend))
  relax()
  walk(increment_end(elapsed_s + long_s))
end
local waits = draws == 1 and final == 1 and granted < q_horizon and 1 or 0
account[10] = account[10] + waits - waited

if caps or owner_caps then hold_more(leg, PIECES, of_spend) end
local reply = pack(0, would, granted, final_told(#terms > 0), 0, account[2], account[3])
leg[2], leg[3], leg[6], leg[7] = n, reply, granted, final
if seen > leg[13] then leg[13] = seen end
for i = 1, #pieces do leg[PIECES + i - 1] = pieces[i] end
if owner then
  local owner_id = leg[8] .. ''
  owner[10] = owner[10] + waits - waited
  call('MSET', KEYS[4], pack(unpack(account)), KEYS[1], pack(unpack(leg)), KEYS[6], pack(unpack(owner)))
  if not held[4] then call('SADD', KEYS[7], owner_id) end
else
  call('MSET', KEYS[4], pack(unpack(account)), KEYS[1], pack(unpack(leg)))
end
local expiry = digits(now + granted * 1000 + LEASE_MARGIN_MS)
for i = 10, #KEYS do call('ZADD', KEYS[i], expiry, leg_id) end
if caps or owner_caps then keep_held(KEYS[8], KEYS[9]) end
if #lines > 0 then call('XADD', KEYS[5], '*', 'account', account_id, 'e', pack(op, now, '', unpack(lines))) end
if #owner_lines > 0 then call('XADD', KEYS[5], '*', 'account', leg[8], 'e', pack(op, now, '', unpack(owner_lines))) end
return reply .. '\0'
