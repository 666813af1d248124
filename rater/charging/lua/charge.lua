-- What a settlement takes of what the leg holds. Twin of `charge` in rater/charging/books.py.
--
-- Leaves behind: amount (micro-units), listed (for each stretch of seconds: grant or "" for money, from_s, to_s, amount),
-- funds (for each source of money: grant or "", shared (0, 1), amount), whether anything went back to the account and to
-- the owner.

local amount, listed, funds, returned, owner_returned

local function begin_charge()
  begin_grants()
  amount, listed, funds, returned, owner_returned = 0, {}, {}, false, false
end

-- A packed list of packed lists of `width` values each.
local function list_of(values, width)
  local parts, count = {}, #values / width
  parts[1] = count < 16 and string.char(144 + count) or '\220' .. struct.pack('>I2', count)
  for i = 1, #values, width do
    parts[#parts + 1] = string.char(144 + width) .. pack(unpack(values, i, i + width - 1))
  end
  return table.concat(parts)
end

-- Into the stretch of money before when it goes on from there or lies over it.
local function list_money(from, to, taken)
  local k = #listed
  if k > 0 and listed[k - 3] == '' and (to <= from or listed[k - 1] == from) then
    if to > listed[k - 1] then listed[k - 1] = to end
    listed[k] = listed[k] + taken
  elseif to > from then
    listed[k + 1], listed[k + 2], listed[k + 3], listed[k + 4] = '', from, to, taken
  end
end

local function count_fund(grant, shared, taken)
  for f = 1, #funds, 3 do
    if funds[f] == grant and funds[f + 1] == shared then
      funds[f + 2] = funds[f + 2] + taken
      return
    end
  end
  local k = #funds
  funds[k + 1], funds[k + 2], funds[k + 3] = grant, shared, taken
end

-- What of the amount the group's owner paid.
local function shared_amount()
  local micro = 0
  for f = 1, #funds, 3 do
    if funds[f + 1] == 1 then micro = micro + funds[f + 2] end
  end
  return micro
end

-- Money owed for the seconds of several pieces is taken from each in turn, as far as it holds.
local function charge(account, owner, owner_id, leg, charged_s, draws)
  local owed, paid_to, from_balance, from_owner = 0, 0, 0, 0
  local grant_lines, owner_grant_lines = {}, {}
  local held = leg.pieces
  for p = 1, #held, PIECE do
    local grant, from, to, paid, shared, taken = held[p], held[p + 5], held[p + 6], held[p + 7], held[p + 8], 0
    local payer = shared == 1 and owner or account
    local payer_lines = shared == 1 and owner_grant_lines or grant_lines
    local first = held[p + 3]
    if to > charged_s then to = charged_s end
    if first == 0 then
      if from < paid_to then from = paid_to end
      if to > from then
        if draws == 1 then owed = owed + price(to) - price(from) end
        paid_to = to
      end
      taken = owed < paid and owed or paid
      owed = owed - taken
      amount = amount + taken
      list_money(from, to, taken)
      if taken > 0 then count_fund(grant, shared, taken) end
    elseif to > from then
      taken = counted(to, held[p + 2], first, held[p + 4]) - counted(from, held[p + 2], first, held[p + 4])
      local k = #listed
      listed[k + 1], listed[k + 2], listed[k + 3], listed[k + 4] = grant, from, to, taken
    end
    if taken < paid then
      if shared == 1 then owner_returned = true else returned = true end
    end
    if grant == '' then
      payer[3] = payer[3] - paid
      if shared == 1 then from_owner = from_owner + taken else from_balance = from_balance + taken end
    else
      local i = grant_at(payer, grant, held[p + 1])
      if i then use(payer, i, payer_lines, paid, taken) end
    end
    if held[p + 9] >= 0 then
      local i = grant_at(account, 'share:' .. owner_id .. (first == 0 and ':money' or ''), held[p + 9])
      if i then use(account, i, grant_lines, paid, taken) end
    end
  end
  if from_balance > 0 then note(lines, 'call', '', 0, account[2], account[2] - from_balance) end
  for i = 1, #grant_lines do lines[#lines + 1] = grant_lines[i] end
  account[2], account[7] = account[2] - from_balance, account[7] + from_balance
  if owner then
    if from_owner > 0 then note(owner_lines, 'call', '', 0, owner[2], owner[2] - from_owner) end
    for i = 1, #owner_grant_lines do owner_lines[#owner_lines + 1] = owner_grant_lines[i] end
    owner[2], owner[7] = owner[2] - from_owner, owner[7] + from_owner
  end
end
