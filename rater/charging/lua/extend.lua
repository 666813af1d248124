-- Reserve the leg's next slice and renew its leases.
--
-- KEYS  1 leg  2 epoch of the switch  3 switches  4 account  5 ledger  6… the leg's lease sets; then, where there is a
--       group or a spend cap: account of the owner of the group that the leg draws on or may now (the account's own
--       without one), accounts, spend, that owner's spend (as that)
-- ARGV  1 number of the operation, epoch (text), now_ms, how many lease sets, elapsed_s, long_s, seen_at_ms, needs as the leg has
--         them; leg, switch, operation id, account, short_s; packed one after the other   2 terms, see chain.lua; packed
-- Writes  leg, account, lease sets, spend, ledger (when a grant opens or closes), the owner's account; the epoch when newer.
-- Returns a reply: ok (granted_s as before when nothing more could be had; reason: what a rule in shadow would have ended
-- the leg for), stale, gone; or 5 and the needs, 6 and where an account is.
-- A leg draws on one group in its life; it joins it here when its account has come to be in one since it began.
-- uses: prelude legs quote grants chain walk spend limits quick plans

local rest, n, epoch, now, leases, elapsed_s, long_s, seen, needs = unpack_some(ARGV[1], 8)
local FIRST_LEASE, OWNER = 6, 6 + leases
local owner_key = KEYS[OWNER]
local held = (not owner_key or owner_key == KEYS[4]) and call('MGET', KEYS[1], KEYS[2], KEYS[4])
  or call('MGET', KEYS[1], KEYS[2], KEYS[4], owner_key)
if held[2] ~= epoch then
  local _, _, switch = unpack_some(ARGV[1], 2, rest)
  if is_stale(held[2], epoch, KEYS[2], KEYS[3], switch) then return STALE end
end
if not held[1] then return away(held[3]) and '\6\0' .. held[3] or GONE end
if KEPT then
  local reply, head, leased, before, reserved, number, grant_reserved =
    extend_quickly(held[1], held[3], n, now, elapsed_s, long_s, seen, needs, ARGV[2])
  if reply then
    write_reserved(KEYS[4], reserved, number, grant_reserved)
    call('SETRANGE', KEYS[1], '0', head)
    if leased ~= before then
      local _, leg_id = unpack_some(ARGV[1], 1, rest)
      renew_leases(KEYS, FIRST_LEASE, OWNER - 1, leased, leg_id)
    end
    return reply
  end
end
local _, leg_id, _, op, account_id, short = unpack_some(ARGV[1], 5, rest)
local leg, told = leg_for(held[1], n, needs)
if told then return told end

if away(held[3]) then return '\6\0' .. held[3] end
if away(held[4]) then return '\6\1' .. held[4] end
local floor, use_money, seconds_order, money_order, shadow, group_owner, allowances, share, spend_caps, of_money,
  of_allowance, of_spend, bands = unpack(known(ARGV[2]))
begin_limits()
short_s, account = short, account_of(held[3])
use_quote(leg.quote)
granted, final, draws, start, pieces = leg.granted, leg.final, leg.draws, now - elapsed_s * 1000, leg.pieces
local waited = draws == 1 and final == 1 and granted < q_horizon and 1 or 0
local terms = terms_of(allowances)
renew(account, lines, terms, now)
local joins = leg.owner == '' and group_owner ~= ''
if joins then leg.owner, leg.needs = group_owner, pack(group_owner) .. string.sub(leg.needs, 2) end
if leg.owner ~= '' then
  owner = account_of(held[4])
  if joins then owner[9], owner[10] = owner[9] + draws, owner[10] + waited end
  if leg.owner == group_owner then
    theirs = shared_view(share, 2 * owner[9])
    renew(account, lines, theirs.quotas, now)
    renew(owner, owner_lines, theirs.terms, now)
  end
end
ours = view_of(account, lines, terms, floor, use_money, seconds_order, money_order, 2 * account[9])
ours.bands = bands
local money_before, shared_before = money_in(pieces)
if leg.exempt == 0 and spend_caps ~= '' then use_spend(spend_caps, call('GET', KEYS[OWNER + 2])) end
if theirs and leg.exempt == 0 and theirs.spend_caps ~= '' then
  use_owner_spend(theirs.spend_caps, call('GET', KEYS[OWNER + 3]))
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

if caps or owner_caps then hold_more(money_before, shared_before, of_spend) end
local packed, reply, leased = packed_account(account), answer_of(would, granted, final_told(#terms > 0), account[2], account[3]), leg.leased
leg.n, leg.reply, leg.granted, leg.final = n, reply, granted, final
leg.leased = lease_of(leased, now, elapsed_s, granted)
if seen > leg.seen then leg.seen = seen end
if owner then
  owner[10] = owner[10] + waits - waited
  call('MSET', KEYS[4], packed, KEYS[1], packed_again(leg), owner_key, packed_account(owner))
  if not held[4] then call('SADD', KEYS[OWNER + 1], leg.owner) end
else
  call('MSET', KEYS[4], packed, KEYS[1], packed_again(leg))
end
if leg.leased ~= leased then renew_leases(KEYS, FIRST_LEASE, OWNER - 1, leg.leased, leg_id) end
if caps or owner_caps then keep_held(KEYS[OWNER + 2], KEYS[OWNER + 3]) end
if #lines > 0 then call('XADD', KEYS[5], '*', 'account', account_id, 'e', pack(op, now, '', unpack(lines))) end
if #owner_lines > 0 then call('XADD', KEYS[5], '*', 'account', leg.owner, 'e', pack(op, now, '', unpack(owner_lines))) end
if KEPT then note_plan(ARGV[2], packed, now) end
return reply
