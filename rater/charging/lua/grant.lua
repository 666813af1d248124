-- Give an account a grant, or end one by hand. Twin of `give_grant` and `expire_grant` in rater/charging/postings.py.
--
-- KEYS  1 operation  2 account  3 accounts  4 ledger  5 the account's homes
-- ARGV  1 operation id, account, grant, kind of grant (1 seconds, 2 money; 0 to end one), amount, valid_from_ms,
--         valid_until_ms, spec (packed, see prelude.lua), now_ms, note, hash of the contents, how long to keep the
--         operation (text, ms), reason when there are too many, most grants, channel to wake legs by, whether the
--         account's homes before were asked (-1 when not); packed one after the other
-- Writes  operation, account, accounts, ledger.
-- Returns a reply: ok (amount: given, or what was left), denied (too many), gone (no such grant is valid), conflict (the
-- operation id was used with other contents, or the grant's id is in use); or 6 and where the account is, 7 and its homes.
-- uses: prelude quote grants

begin_grants()
local op, account_id, id, kind, amount, from, till, spec, now, remark, digest, kept_ms, too_many, most, wake,
  elsewhere = unpack_all(ARGV[1])
local CONFLICT = '\4\0\0\0\0\0\0\0'
local held = call('MGET', KEYS[1], KEYS[2], KEYS[5])
if held[1] then
  local first, reply = unpack_all(held[1])
  return first == digest and reply .. '\1' or CONFLICT
end
if away(held[2]) then return '\6\0' .. held[2] end
if elsewhere < 0 and lived_elsewhere(held[3]) then return '\7' .. held[3] end
local account = account_of(held[2])
local reply

if kind == 0 then
  local found
  for i = #account - GRANT + 1, GRANTS, -GRANT do
    if account[i] == id and account[i + 6] == 0 and account[i + 2] > now then found = i end
  end
  if not found then return GONE end
  amount = account[found + 3] - account[found + 4] - account[found + 5]
  close(account, found, lines)
  drop_spent(account, now)
else
  drop_spent(account, now)
  for i = GRANTS, #account, GRANT do
    if account[i] == id then return CONFLICT end
  end
  if (#account - GRANTS + 1) / GRANT >= most then
    reply = pack(1, too_many, 0, 0, 0, account[2], account[3])
    call('SET', KEYS[1], pack(digest, reply, account_id), 'PX', kept_ms)
    return reply .. '\0'
  end
  open(account, lines, 'grant', id, from, till, amount, kind, spec)
  if amount == 0 then lines = {} end
end
reply = pack(0, 0, 0, 0, amount, account[2], account[3])
local wakes = account[10] > 0 and kind ~= 0
local packed = packed_account(account)
call('SET', KEYS[1], pack(digest, reply, account_id), 'PX', kept_ms)
call('SET', KEYS[2], packed)
if not held[2] then call('SADD', KEYS[3], account_id) end
if #lines > 0 then call('XADD', KEYS[4], '*', 'account', account_id, 'e', pack(op, now, remark, unpack(lines))) end
if wakes then call('PUBLISH', wake, account_id) end
return reply .. '\0'
