-- The short way of what nearly every operation is: one source alone pays, nothing begins, ends or runs short meanwhile. Then
-- only a few numbers change, in place, in the stored account and leg. Whatever else is the case takes the long way, which
-- stores and answers the very same where both could be taken (tests/charging/test_quick.py).
--
-- The first that it writes is MSET, or SETRANGE, which no other part uses: where a user may not, nothing was done, and scripts
-- serve.
--
-- Only in a library of functions, where KEPT lives from call to call. It keeps, bounded: plans, by terms, class of the leg
-- and the part of an account that tells its grants from others but not what is left of them: the order in which they
-- are used (see plans.lua); and grants, by that part alone: its values.
--
-- plan  now (ms), at (ms: of the first second to be paid) and till (ms): it holds from both of the first on, before
--       the last; seconds, funds: for each source its number from 0 or false for the balance, grant or "", start of its
--       cycle, free_s, first_s, next_s, blocks (0, 1)

local ACCOUNT_BYTES, GRANT_BYTES, SOURCE = 75, 27, 7
local KEPT_MOST, LAST = 10000, 1
local WHOLE_BYTES = 512 -- an account that is shorter is written whole with a new leg

-- Balance, reserved, charges, live legs, those that could get no more, how many grants; nothing when the account is not in the
-- form in which it can be changed in place.
local function account_numbers(held)
  if not held or byte(held) ~= 2 or #held < ACCOUNT_BYTES then return end
  local first, balance, reserved, charges, legs, last, waiting = of_bytes('>Bi8xi8xi8xi8Bi8', held, 2)
  local count = byte(held, ACCOUNT_BYTES)
  if first ~= 211 or last ~= 211 or count > 126 then return end
  if #held < ACCOUNT_BYTES + count * GRANT_BYTES then return end
  return balance, reserved, charges, legs, waiting, count
end

-- The part that tells an account's grants from others.
local function grants_text(held, count) return sub(held, ACCOUNT_BYTES + count * GRANT_BYTES + 1) end

-- Whether it is that text.
local function ends_with(held, count, text)
  local first = ACCOUNT_BYTES + count * GRANT_BYTES + 1
  return #held - first + 1 == #text and find(held, text, first, true) == first
end

-- Used, reserved, granted of a grant by its number.
local function grant_numbers(held, number)
  local used, reserved, last, given = of_bytes('>i8xi8Bi8', held, ACCOUNT_BYTES + number * GRANT_BYTES + 2)
  if last == 211 then return used, reserved, given end
end

-- An account's numbers, as they stand from the second byte on; `number`: of the grant whose numbers change, or false.
local function numbers_text(held, balance, reserved, charges, legs, number, used, grant_reserved)
  local numbers = to_bytes('>Bi8Bi8Bi8Bi8', 211, balance, 211, reserved, 211, charges, 211, legs)
  if number then
    numbers = numbers .. sub(held, 38, ACCOUNT_BYTES + number * GRANT_BYTES) .. to_bytes('>Bi8Bi8', 211, used, 211,
      grant_reserved)
  end
  return numbers
end

-- Where in an account a grant has what is reserved of it, by its number, as Redis takes it.
local reserved_at = {}

local function place_of(number)
  local place = digits(ACCOUNT_BYTES + number * GRANT_BYTES + 9)
  reserved_at[number] = place
  return place
end

-- The same when only what is reserved changes, of the balance or of a grant.
local function write_reserved(key, reserved, number, grant_reserved)
  if number then
    call('SETRANGE', key, reserved_at[number] or place_of(number), to_bytes('>Bi8', 211, grant_reserved))
  else
    call('SETRANGE', key, '10', to_bytes('>Bi8', 211, reserved))
  end
end

-- The one that was found last is tried first, without a copy of the account's part.
local function plan_of(held, count, terms_text)
  local of_terms = KEPT.plans[terms_text]
  local of_class = of_terms and of_terms[q_class]
  if not of_class then return end
  local last = of_class[LAST]
  if last and ends_with(held, count, last) then return of_class[last] end
  local text = grants_text(held, count)
  of_class[LAST] = text
  return of_class[text]
end

-- Whether there is money for what the seconds do not reach.
local function has_money(list, held, unreserved)
  for k = 1, #list, SOURCE do
    if list[k + 6] == 1 then return false end
    if not list[k] then
      if unreserved > 0 then return true end
    else
      local used, reserved, given = grant_numbers(held, list[k])
      if not used then return false end
      if given - used - reserved > 0 then return true end
    end
  end
  return false
end

-- Which source pays the seconds from `from` to `to`, with plenty left: the plan's list, its place there, the amount, the
-- grant's numbers. Nothing when more than one has a part in it, or it comes near its end.
local function sole_payer(plan, held, from, to, sharers, unreserved)
  if to <= from or to >= q_horizon then return end
  local list = plan.seconds
  for k = 1, #list, SOURCE do
    if list[k + 6] == 1 then return end
    local used, reserved, given = grant_numbers(held, list[k])
    if not used then return end
    local left, free, first, following = given - used - reserved, list[k + 3], list[k + 4], list[k + 5]
    local budget = left
    -- Where nothing can follow, what is left is shared (see `use_seconds`).
    if k + SOURCE > #list and not has_money(plan.funds, held, unreserved) then
      budget = (left - fmod(left, sharers)) / sharers
    end
    if left > 0 and to > free and reach(from, to, budget, free, first, following) == to then
      local amount = counted(to, free, first, following) - counted(from, free, first, following)
      if reach(to, to + 1, left - amount, free, first, following) <= to then return end
      return list, k, amount, used, reserved
    end
    if left > 0 or free > 0 or first ~= 1 or following ~= 1 then return end
  end
  if to <= q_free then return end
  list = plan.funds
  for k = 1, #list, SOURCE do
    if list[k + 6] == 1 then return end
    local left, used, reserved, given = unreserved, 0, 0, 0
    if list[k] then
      used, reserved, given = grant_numbers(held, list[k])
      if not used then return end
      left = given - used - reserved
    end
    if left > 0 then
      local total = slice_price(to)
      local amount = total - slice_price(from)
      if amount > 0 and amount <= (left - fmod(left, sharers)) / sharers
        and slice_price(to + 1) - total <= left - amount then
        return list, k, amount, used, reserved
      end
      return
    end
  end
end

-- Answers: reply, the leg's numbers, until when its leases are to be taken, until when they were, what the balance has
-- reserved, the grant's number or false, what that has reserved.
local function extend_quickly(text, held, n, now, elapsed_s, long_s, seen, needs, terms_text)
  local last, granted, final, seen_before, leased, to, paid, _, _, exempt, draws = leg_numbers(text)
  if not last or n <= last or final ~= 0 or draws ~= 1 or exempt ~= 0 then return end
  local balance, reserved, _, legs, _, grants = account_numbers(held)
  if not balance or legs < 1 then return end
  local terms = known(terms_text)
  if terms[6] ~= '' or terms[9] ~= '' then return end
  local _, owner_id, own_needs, quote, grant, cycle, free, first, following, _, shared, quota =
    unpack_some(text, 11, LEG_BYTES)
  if owner_id ~= '' or own_needs ~= needs or shared ~= 0 or quota ~= -1 or to ~= granted then return end
  use_quote(quote)
  local plan = plan_of(held, grants, terms_text)
  if not plan then return end
  local start, goal = now - elapsed_s * 1000, increment_end(elapsed_s + long_s)
  if now < plan.now or now >= plan.till or start + granted * 1000 < plan.at or start + goal * 1000 >= plan.till then
    return
  end
  local list, k, amount, _, taken = sole_payer(plan, held, granted, goal, 2 * legs, balance - terms[1] - reserved)
  if not list or list[k + 1] ~= grant or list[k + 2] ~= cycle or list[k + 3] ~= free or list[k + 4] ~= first
    or list[k + 5] ~= following then
    return
  end
  local number = list[k]
  if not number then reserved = reserved + amount end
  local reply = answer_of(0, goal, 0, balance, reserved)
  local lease = lease_of(leased, now, elapsed_s, goal)
  return reply, extended_head(n, reply, goal, 0, seen > seen_before and seen or seen_before, lease, goal, paid + amount), lease,
    leased, reserved, number, taken + amount
end

-- Answers: reply, granted_s, amount, the source: grant or "", cycle, free_s, first_s, next_s; then what the account is to have,
-- as `numbers_text` takes it.
local function reserve_quickly(held, now, first_s, terms_text, quote)
  local balance, reserved, charges, legs, _, grants = account_numbers(held)
  if not balance then return end
  local terms = known(terms_text)
  if terms[6] ~= '' or terms[9] ~= '' then return end
  use_quote(quote)
  local plan = plan_of(held, grants, terms_text)
  if not plan or now < plan.now or now < plan.at or full_price() == 0 then return end
  local goal = increment_end(first_s)
  if now + goal * 1000 >= plan.till then return end
  local list, k, amount, used, taken = sole_payer(plan, held, 0, goal, 2 * (legs + 1), balance - terms[1] - reserved)
  if not list then return end
  local number = list[k]
  if not number then reserved = reserved + amount end
  return answer_of(0, goal, 0, balance, reserved), goal, amount, list[k + 1], list[k + 2], list[k + 3], list[k + 4], list[k + 5],
    balance, reserved, charges, legs + 1, number, used, taken + amount
end

-- Whether each limit has a slot left; its lease sets are the keys from `first` to `last`. `alone`: no other leg draws on the account,
-- so that most likely none of these sets is there, which is asked at once.
local function are_free(limits, keys, first, last, now, alone)
  local count = #limits
  if alone and count > 2 then
    local least = 1
    for i = 1, count, 2 do
      if limits[i] < least then least = limits[i] end
    end
    if least == 1 and call('EXISTS', unpack(keys, first, last)) == 0 then return true end
  end
  for i = 1, count, 2 do
    if legs_under(keys[first + (i - 1) / 2], limits[i], now) >= limits[i] then return false end
  end
  return true
end

-- A whole reservation: its answer, once everything is written; nothing when this is not its way.
local function carry_out_quickly(keys, arguments, held, first_lease, limits, needs, n, now, first_s, account_id, leg_id,
    switch)
  local reply, goal, amount, grant, cycle, free, first, following, balance, reserved, charges, legs, number, used, grant_reserved =
    reserve_quickly(held, now, first_s, arguments[4], arguments[2])
  local last_lease = first_lease + #limits / 2 - 1
  if not reply or not are_free(limits, keys, first_lease, last_lease, now, legs == 1) then return end
  local leased = lease_of(0, now, 0, goal)
  local leg = leg_of_one_source(n, reply, goal, leased, amount, needs, arguments[2], grant, cycle, free, first, following,
    account_id, switch, now, arguments[3])
  local numbers = numbers_text(held, balance, reserved, charges, legs, number, used, grant_reserved)
  if #held < WHOLE_BYTES then
    -- That costs less than a command of its own for what has changed.
    call('MSET', keys[4], '\2' .. numbers .. sub(held, #numbers + 2), keys[1], leg)
  else
    call('SETRANGE', keys[4], '1', numbers)
    call('SET', keys[1], leg)
  end
  call('SADD', keys[5], leg_id)
  renew_leases(keys, first_lease, last_lease, leased, leg_id)
  return reply
end

-- An account's grants, 6 values each: id, valid_from_ms, valid_until_ms, closed, kind, spec; and whether all are open.
local function grants_of(held, count)
  local last = KEPT.grants_last
  if last and ends_with(held, count, last.text) then return last end
  local text = grants_text(held, count)
  local values = KEPT.grants[text]
  if not values then
    values = count > 0 and {unpack_all(text)} or {}
    values.open, values.text = true, text
    for i = 4, #values, 6 do
      if values[i] ~= 0 then values.open = false end
    end
    if KEPT.grants_count == KEPT_MOST then KEPT.grants, KEPT.grants_count = {}, 0 end
    KEPT.grants[text], KEPT.grants_count = values, KEPT.grants_count + 1
  end
  KEPT.grants_last = values
  return values
end

-- Whether a settlement crosses none of the thresholds: those of money by the balance before and after, those of an
-- allowance by what was used of the grant at place `i` of `grants`.
local function crosses_none(thresholds, before, after, grants, i, now, used_before, used_after, given)
  for t = 1, #thresholds, 5 do
    local kind, value, id = thresholds[t + 1], thresholds[t + 2], thresholds[t + 3]
    if kind > 2 or thresholds[t + 4] > 0 then return false end
    if kind == 0 and before >= value and after < value then return false end
    if kind == 2 and before < value and after >= value then return false end
    if kind == 1 and i and grants[i] == id and 100 * used_before < value * given and 100 * used_after >= value * given then
      return false
    end
  end
  return true
end

-- Answers: reply, granted_s, charged_s, amount of money, balance before and after, quote, pieces as the event has them,
-- grant or "" with its cycle, its balance before and after; then what the account is to have beside its balance, as
-- `numbers_text` takes it.
local function settle_quickly(text, held, n, now, duration_s, needs, thresholds_text)
  local last, granted, final, _, _, to, paid, count, _, exempt, draws = leg_numbers(text)
  if not last or n <= last or count ~= 1 or draws ~= 1 or final ~= 0 or exempt ~= 0 then return end
  local balance, reserved, charges, legs, waiting, grant_count = account_numbers(held)
  if not balance or waiting ~= 0 then return end
  local _, owner_id, own_needs, quote, grant, cycle, free, first, following, from, shared, quota =
    unpack_some(text, 11, LEG_BYTES)
  if owner_id ~= '' or own_needs ~= needs or shared ~= 0 or quota ~= -1 or (first == 0 and grant ~= '') then return end
  local grants = grants_of(held, grant_count)
  if not grants.open then return end
  local charged_s, taken, money, listed = duration_s < granted and duration_s or granted, 0, 0, '\144'
  use_quote(quote)
  if to > charged_s then to = charged_s end
  if to > from then
    if first == 0 then taken = price(to) - price(from) else
      taken = counted(to, free, first, following) - counted(from, free, first, following)
    end
    if taken > paid then return end
    listed = '\145\148' .. pack(grant, from, to, taken)
  end
  local before, after, number, i, used, grant_reserved, given = balance, balance, false
  if first == 0 then
    money, after, reserved, charges = taken, balance - taken, reserved - paid, charges + taken
  else
    for k = 1, #grants, 6 do
      if grants[k] == grant and grants[k + 1] == cycle then
        i = k
        break
      end
    end
    if not i then return end
    number = (i - 1) / 6
    used, grant_reserved, given = grant_numbers(held, number)
    if not used then return end
  end
  if not crosses_none(known(thresholds_text), before, after, grants, i, now, used, i and used + taken, given) then return end
  local line_before = i and given - used or before
  return pack(0, 0, granted, 0, money, after, reserved), granted, charged_s, money, before, after, quote, listed, grant,
    cycle, line_before, line_before - taken, reserved, charges, legs - 1, number, i and used + taken,
    i and grant_reserved - paid
end
