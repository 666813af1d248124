-- Charge what was talked, give back the rest, free the leases, append the rated event.
--
-- KEYS  1 leg  2 epoch of the switch  3 switches  4 account  5 legs of the switch  6 ledger  7 outbox
--       8… the leg's lease sets; then, where there is a group or what is spent counts: account of the owner of the
--       group that the leg draws on (the account's own without one), spend, that owner's spend (as that)
-- ARGV  1 number of the operation, epoch (text), now_ms, how many lease sets, operation id, account, leg, duration_s (0 when
--         unanswered), emit (0, 1), needs as the leg has them; switch, channel to wake other legs by, owner of the group that
--         the account is in now or ""; packed one after the other
--       2 facts, a msgpack map; then, each left off when it and all after it are empty:
--       3 thresholds, see thresholds.lua; packed   4 those of that owner; packed
--       5 spend caps, see spend.lua; packed   6 those of that owner; packed
-- Writes  account, the owner's, the leg's tombstone, legs, lease sets, spend, ledger, outbox `rated` and `threshold`; the epoch
--         when newer.
-- Returns a reply: ok (amount charged in money, never for more than was paid ahead), stale, gone; or 5 and the needs, 6 and where an account is.
-- Its first write takes no memory, so that Redis refuses none of them when it is out of memory: what a settlement adds it frees.
-- (On the short way, which only functions have, that is so by their flag.)
-- A leg never heard of is marked as gone, so that a reservation still under way cannot come after its end.
-- uses: prelude legs quote grants spend thresholds charge quick

local rest, n, epoch, now, leases, op, account_id, leg_id, duration_s, emit, needs = unpack_some(ARGV[1], 10)
local thresholds_text, caps_text, owner_caps_text = ARGV[3] or '', ARGV[5] or '', ARGV[6] or ''
local FIRST_LEASE, OWNER = 8, 8 + leases
local owner_key = KEYS[OWNER]
local held = (not owner_key or owner_key == KEYS[4]) and call('MGET', KEYS[1], KEYS[2], KEYS[4])
  or call('MGET', KEYS[1], KEYS[2], KEYS[4], owner_key)
if held[2] ~= epoch then
  local _, switch = unpack_some(ARGV[1], 1, rest)
  if is_stale(held[2], epoch, KEYS[2], KEYS[3], switch) then return STALE end
end
if not held[1] then
  if away(held[3]) then return '\6\0' .. held[3] end
  call('SREM', KEYS[5], leg_id)
  call('SET', KEYS[1], pack(0, n, '\2\0\0\0\0\0\0', 0), 'PX', LEG_KEPT_MS)
  return GONE
end
if KEPT and caps_text == '' then
  local reply, granted, charged_s, money, before, after, quote, listed, grant, cycle, from, to, reserved, charges, legs,
    number, used, grant_reserved = settle_quickly(held[1], held[3], n, now, duration_s, needs,
      thresholds_text)
  if reply then
    local numbers = numbers_text(held[3], after, reserved, charges, legs, number, used, grant_reserved)
    call('SETRANGE', KEYS[4], '1', numbers)
    call('SET', KEYS[1], pack(0, n, reply, 0), 'PX', LEG_KEPT_MS)
    call('SREM', KEYS[5], leg_id)
    for i = FIRST_LEASE, OWNER - 1 do call('ZREM', KEYS[i], leg_id) end
    if to < from then
      call('XADD', KEYS[6], '*', 'account', account_id, 'e', pack(op, now, '', 'call', grant, cycle, from, to))
    end
    if emit == 1 then
      call('XADD', KEYS[7], '*', 'k', 'rated', 'f', ARGV[2], 'r', '\135\172amount_micro' .. pack(money) .. '\170duration_s'
        .. pack(charged_s) .. '\169granted_s' .. pack(granted) .. '\180balance_before_micro' .. pack(before)
        .. '\179balance_after_micro' .. pack(after) .. '\166pieces' .. listed .. '\165quote' .. quote)
    end
    return reply .. '\0'
  end
end
local _, _, wake, group_owner = unpack_some(ARGV[1], 3, rest)
begin_charge()
local leg, told = leg_for(held[1], n, needs)
if told then return told end

if away(held[3]) then return '\6\0' .. held[3] end
if away(held[4]) then return '\6\1' .. held[4] end
local account, owner_id, owner = account_of(held[3]), leg.owner, nil
local thresholds, owner_thresholds = known(thresholds_text), {}
local caps, spend, owner_caps, owner_spend
if leg.exempt == 0 and (caps_text ~= '' or tells_once(thresholds)) then
  caps = known(caps_text)
  spend = spent(caps, call('GET', KEYS[OWNER + 1]))
end
local before, levels_before, owner_levels = account[2], levels(account, thresholds, now, spend), nil
if owner_id ~= '' then
  owner = account_of(held[4])
  if owner_id == group_owner then
    owner_thresholds = known(ARGV[4] or '')
    if leg.exempt == 0 and (owner_caps_text ~= '' or tells_once(owner_thresholds)) then
      owner_caps = known(owner_caps_text)
      owner_spend = spent(owner_caps, call('GET', KEYS[OWNER + 2]))
    end
  end
  owner_levels = levels(owner, owner_thresholds, now, owner_spend)
end
local granted, draws = leg.granted, leg.draws
local charged_s = duration_s < granted and duration_s or granted
use_quote(leg.quote)
charge(account, owner, owner_id, leg, charged_s, draws)

local waits = draws == 1 and leg.final == 1 and granted < q_horizon and 1 or 0
account[9], account[10] = account[9] - draws, account[10] - waits
drop_spent(account, now)
-- When no other leg draws on an account nothing is held: what a change of the caps may have left is put right.
local money, shared = money_in(leg.pieces)
local owner_crossings, owner_told
if owner then
  owner[9], owner[10] = owner[9] - draws, owner[10] - waits
  drop_spent(owner, now)
  if owner_spend then
    count_spend(owner_caps, owner_spend, shared_amount(), -(owner[9] == 0 and owner_spend[5] or shared))
  end
  owner_crossings, owner_told = crossings(owner, owner_thresholds, owner_levels, now, owner_spend)
end
if spend then count_spend(caps, spend, amount, -(account[9] == 0 and spend[5] or money)) end
local found, told = crossings(account, thresholds, levels_before, now, spend)
local reply = pack(0, 0, granted, 0, amount, account[2], account[3])
local packed, owner_packed = packed_account(account), owner and packed_account(owner)
call('SREM', KEYS[5], leg_id)
call('SET', KEYS[1], pack(0, n, reply, 0), 'PX', LEG_KEPT_MS)
if owner then
  call('MSET', KEYS[4], packed, owner_key, owner_packed)
else
  call('SET', KEYS[4], packed)
end
for i = FIRST_LEASE, OWNER - 1 do call('ZREM', KEYS[i], leg_id) end
if told or caps_text ~= '' and spend then keep_spend(spend, KEYS[OWNER + 1]) end
if owner_told or owner_caps_text ~= '' and owner_spend then keep_spend(owner_spend, KEYS[OWNER + 2]) end
if #lines > 0 then call('XADD', KEYS[6], '*', 'account', account_id, 'e', pack(op, now, '', unpack(lines))) end
if #owner_lines > 0 then
  call('XADD', KEYS[6], '*', 'account', owner_id, 'e', pack(op, now, '', unpack(owner_lines)))
end
if emit == 1 then
  local count, more = 7, ''
  if owner then
    count, more = count + 1, pack('owner', owner_id)
  end
  if #funds > 3 or (#funds == 3 and (funds[1] ~= '' or funds[2] == 1)) then
    count, more = count + 1, more .. pack('funds') .. list_of(funds, 3)
  end
  call('XADD', KEYS[7], '*', 'k', 'rated', 'f', ARGV[2], 'r', string.char(128 + count) .. pack('amount_micro', amount,
    'duration_s', charged_s, 'granted_s', granted, 'balance_before_micro', before,
    'balance_after_micro', account[2], 'pieces') .. list_of(listed, 4) .. pack('quote') .. leg.quote .. more)
end
tell(thresholds, found, KEYS[7], op, account_id, now)
if owner and #owner_crossings > 0 then
  tell(owner_thresholds, owner_crossings, KEYS[7], op .. ':' .. owner_id, owner_id, now)
end
if account[10] > 0 and returned then call('PUBLISH', wake, account_id) end
if owner and owner[10] > 0 and owner_returned then call('PUBLISH', wake, owner_id) end
return reply .. '\0'
