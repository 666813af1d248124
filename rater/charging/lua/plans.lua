-- Notes the order in which a leg's sources were found, for those who come after (quick.lua). Needs `limits`.

-- `packed`: the account as it is stored now.
local function note_plan(terms_text, packed, now)
  if owner or relaxed or draws == 0 or not edge then return end
  if KEPT.plans_count == KEPT_MOST then KEPT.plans, KEPT.plans_count = {}, 0 end
  local count = byte(packed, ACCOUNT_BYTES)
  if count > 126 then return end
  local text, of_terms = grants_text(packed, count), KEPT.plans[terms_text]
  if not of_terms then
    of_terms = {}
    KEPT.plans[terms_text] = of_terms
  end
  local of_class = of_terms[q_class]
  if not of_class then
    of_class = {}
    of_terms[q_class] = of_class
  end
  local before, till, a, terms = of_class[text], edge, account, ours.terms
  if before and before.now <= now and now < before.till and before.at <= looked_at and looked_at < before.till then return end
  -- Until then nothing is closed, opened or dropped either: a closed grant must be the newest of its id, to be kept.
  local newest = {}
  for i = GRANTS, #a, GRANT do newest[a[i]] = i end
  for i = GRANTS, #a, GRANT do
    local closed, ends = a[i + 6] == 1, a[i + 2]
    if closed then ends = ends + GRANT_KEPT_MS end
    if ends <= now or (closed and newest[a[i]] ~= i) then return end
    if ends < till then till = ends end
  end
  for t = 1, #terms, TERM do
    if terms[t + 6] > now and terms[t + 6] < till then till = terms[t + 6] end
  end
  local plan = {now = now, at = looked_at, till = till, seconds = {}, funds = {}}
  for list, sources in pairs({seconds = seconds, funds = funds}) do
    local to, k = plan[list], 0
    for s = 1, #sources do
      local source = sources[s]
      local i, timed = source.i, source.first > 0
      to[k + 1], to[k + 2], to[k + 3] = i and (i - GRANTS) / GRANT, i and a[i] or '', i and a[i + 1] or 0
      to[k + 4], to[k + 5], to[k + 6], to[k + 7] = timed and source.free or 0, source.first,
        timed and source.following or 0, source.blocks
      k = k + SOURCE
    end
  end
  if not before then KEPT.plans_count = KEPT.plans_count + 1 end
  of_class[text] = plan
end
