-- Move an account's money by hand; the account is made when it is new.
--
-- KEYS  1 operation  2 account  3 accounts  4 ledger  5 outbox  6 the account that a transfer within the shard goes to
--       (else the account)  7 what was refunded of the event, or the shard's pending transfers  8 the account's homes
--       9 the account's spend  10 that of the account of 6
-- ARGV  1 operation id, account, kind (see PostKind), change (micro-units, below zero takes), now_ms, floor (micro-units),
--         note, hash of the contents, how long to keep the operation (text, ms), reasons when money is short and when an
--         amount leaves the exact range, channel to wake legs by, cause, other account or "", charged (micro-units, of
--         the event to refund), reason when a refund is too large, how long to keep refunds (text, ms), the transfer to
--         note as pending (packed), what was refunded of the event in the account's homes before (micro-units; -1 when
--         they were not asked yet); packed one after the other
--       2 thresholds, see thresholds.lua; packed   3 those of the account that a transfer goes to; packed
-- Writes  operation, account, accounts, ledger, outbox `threshold`; the other account; refunds; pending transfers.
-- Returns a reply: ok, denied, conflict (the operation id was used with other contents, or the account was opened with
-- another amount); or 6 and where an account is, 7 and its homes. An opening, which may be 0, is posted once in an account's life, however many operations ask for it.
-- Twin of `move` and `arrive` in rater/charging/postings.py.
-- uses: prelude quote grants spend thresholds

local op, account_id, kind, change, now, floor_micro, remark, digest, kept_ms, short, out_of_range, wake, cause,
  other_id, charged, too_large, refunds_kept_ms, pending, elsewhere = unpack_all(ARGV[1])
local CONFLICT = '\4\0\0\0\0\0\0\0'
local transfer, refund = kind == 'transfer', kind == 'refund'
local held
if transfer then
  held = call('MGET', KEYS[1], KEYS[2], KEYS[8], KEYS[6])
elseif refund then
  held = call('MGET', KEYS[1], KEYS[2], KEYS[8], KEYS[7])
else
  held = call('MGET', KEYS[1], KEYS[2], KEYS[8])
end
if held[1] then
  local first, reply = unpack_all(held[1])
  return first == digest and reply .. '\1' or CONFLICT
end
if away(held[2]) then return '\6\0' .. held[2] end
if transfer and away(held[4]) then return '\6\1' .. held[4] end
if elsewhere < 0 and lived_elsewhere(held[3]) then return '\7' .. held[3] end
local account = account_of(held[2])
local other = transfer and account_of(held[4])
local own_refunded = refund and held[4] and tonumber(held[4]) or 0
local refunded = own_refunded + (elsewhere > 0 and elsewhere or 0)
local amount, before = change < 0 and kind ~= 'adjust' and -change or change, account[2]

if kind == 'opening' and account[8] == 1 then
  if account[4] ~= amount then return CONFLICT end
  return pack(0, 0, 0, 0, amount, before, account[3], 1)
end

-- Whether a balance or a total would leave the exact range.
local function beyond(a, by)
  local total = by < 0 and a[6] - by or a[5] + by
  return total > MAX_AMOUNT or a[2] + by > MAX_AMOUNT or a[2] + by < -MAX_AMOUNT
end

local function move(a, by)
  a[2] = a[2] + by
  if by < 0 then a[6] = a[6] - by else a[5] = a[5] + by end
end

local reason = 0
if change < 0 and before + change - account[3] < floor_micro then
  reason = short
elseif beyond(account, change) or (other and beyond(other, amount)) then
  reason = out_of_range
elseif refund and refunded + amount > charged then
  reason = too_large
end
if reason ~= 0 then
  local reply = pack(1, reason, 0, 0, 0, before, account[3])
  call('SET', KEYS[1], pack(digest, reply, account_id), 'PX', kept_ms)
  return reply .. '\0'
end

local thresholds, other_thresholds = {unpack_all(ARGV[2])}, other and {unpack_all(ARGV[3])}
local spend = tells_once(thresholds) and spent({}, call('GET', KEYS[9]))
local levels_before, other_spend, other_levels, found, told, other_found, other_told = levels(account, thresholds, now)
if other then
  other_spend = tells_once(other_thresholds) and spent({}, call('GET', KEYS[10]))
  other_levels = levels(other, other_thresholds, now)
end
if kind == 'opening' then
  account[2], account[4], account[8] = before + change, amount, 1
else
  move(account, change)
end
local reply = pack(0, 0, 0, 0, amount, account[2], account[3])
local wakes, other_before, wakes_other = account[10] > 0 and change > 0
if other then
  other_before, wakes_other = other[2], other[10] > 0
  move(other, amount)
  other_found, other_told = crossings(other, other_thresholds, other_levels, now, other_spend)
end
found, told = crossings(account, thresholds, levels_before, now, spend)
local packed, other_packed = packed_account(account), other and packed_account(other)
call('SET', KEYS[1], pack(digest, reply, account_id), 'PX', kept_ms)
if other then
  call('MSET', KEYS[2], packed, KEYS[6], other_packed)
  call('SADD', KEYS[3], account_id, other_id)
  call('XADD', KEYS[4], '*', 'account', other_id, 'e', pack(op, now, remark, cause, '', 0, other_before, other[2]))
  tell(other_thresholds, other_found, KEYS[5], op .. ':' .. other_id, other_id, now)
  if other_told then keep_spend(other_spend, KEYS[10]) end
else
  call('SET', KEYS[2], packed)
  if not held[2] then call('SADD', KEYS[3], account_id) end
end
if refund then call('SET', KEYS[7], own_refunded + amount, 'PX', refunds_kept_ms) end
if told then keep_spend(spend, KEYS[9]) end
if kind == 'transfer_out' then call('HSET', KEYS[7], op, pending) end
if change ~= 0 then
  call('XADD', KEYS[4], '*', 'account', account_id, 'e', pack(op, now, remark, cause, '', 0, before, account[2]))
end
tell(thresholds, found, KEYS[5], op, account_id, now)
if wakes then call('PUBLISH', wake, account_id) end
if wakes_other then call('PUBLISH', wake, other_id) end
return reply .. '\0'
