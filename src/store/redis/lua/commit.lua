-- The outcome of a turn. ARGV: epoch id base flags document told wake-at old-wake old-ready first settled
-- lease-ms effects {id effect}, then what `more` brings.
-- Base: the version that was read, then the number of the last of the first inputs.
-- Flags: 1 taken (the inbox has to be empty), 2 effects handed over, 4 more, then 8 for each input that this very
-- commit has put into the inbox before (what was said about an address that it takes).
-- `more`, for what is rare: what (account, erase) balance funnel-and-provider n scattered-inputs n {version by} n uncounted
-- n withdrawn.
-- Replies: 0 done, 1 conflict, 2 not the owner, 4 what it books is paused; then whether she is ready again.
local zero = string.rep('\0', 8)

-- Whether something is paused: the lease has a number 8, then 8 for each; eight zeros pause everything.
local function is_paused(lease, under)
  local pauses = call('HGET', lease, 'p') or ''
  for at = 9, #pauses, 8 do
    local one = string.sub(pauses, at, at + 7)
    if one == zero or one == string.sub(under, 1, 8) or one == string.sub(under, 9) then return true end
  end
  return false
end

-- What only a few commits have: read into a table.
local function read_more()
  local more = {what = arg(), balance = arg(), books = arg()}
  local function list(width)
    local all = {}
    for i = 1, tonumber(arg()) do all[i] = width == 1 and arg() or {arg(), arg()} end
    return all
  end
  more.scattered, more.versions, more.uncounted, more.withdrawn = list(1), list(2), list(1), list(1)
  more.erase = string.find(more.what, 'erase', 1, true)
  return more
end

local function erase(p, id)
  call('DEL', p .. 'customer:' .. id, p .. 'account:' .. id, p .. 'inbox:' .. id)
  call('ZREM', p .. 'ready', id)
  call('ZREM', p .. 'wake', id)
  call('SADD', p .. 'erased', string.sub(redis.sha1hex(id), 1, 14))
  local aside = p .. 'quarantine'
  local rows = call('HGETALL', aside)
  for i = 1, #rows, 2 do
    local size = struct.unpack('>I2', rows[i + 1])
    if string.sub(rows[i + 1], 3, 2 + size) == id then call('HDEL', aside, rows[i]) end
  end
end

-- Inputs that are consumed though older ones are not.
local function drop(inbox, numbers)
  local gone = {}
  for i = 1, #numbers do gone[numbers[i]] = true end
  for _, input in ipairs(call('LRANGE', inbox, '0', '-1')) do
    if gone[string.sub(input, 1, 8)] then call('LREM', inbox, '1', input) end
  end
end

-- Whether they are all there: one that was put aside while it was in hand must not be both listed and done.
local function all_there(inbox, numbers)
  local there = {}
  for _, input in ipairs(call('LRANGE', inbox, '0', '-1')) do there[string.sub(input, 1, 8)] = true end
  for i = 1, #numbers do
    if not there[numbers[i]] then return false end
  end
  return true
end

local function write_more(p, more)
  for _, id in ipairs(more.withdrawn) do
    local effect = p .. 'effect:' .. id
    -- Sending 1, begun 8, unsure 8: what may have had its effect runs out.
    local state = call('GETRANGE', effect, '4', '20')
    local untouched = string.sub(state, 1, 1) == '\0' and string.sub(state, 10) == string.rep('\0', 8)
    if untouched or (state ~= '' and more.erase) then
      call('DEL', effect)
      call('ZREM', p .. 'outbox', id)
    end
  end
  for _, version in ipairs(more.versions) do
    if call('HINCRBY', p .. 'live', version[1], version[2]) <= 0 then call('HDEL', p .. 'live', version[1]) end
  end
  for _, input in ipairs(more.uncounted) do call('HDEL', p .. 'crashes', input) end
end

for item = 1, items do
  local lease, a = KEYS[item], at_arg
  local p, id, flags, document = prefix(lease), ARGV[a + 2], tonumber(ARGV[a + 4]), ARGV[a + 5]
  local settled, effects = ARGV[a + 11], tonumber(ARGV[a + 13])
  local own = math.floor(flags / 8)
  flags = flags % 8
  at_arg = a + 13 + 2 * effects
  local more = flags >= 4 and read_more()
  local record, inbox = p .. 'customer:' .. id, p .. 'inbox:' .. id
  local outcome, kept, unread = 0, call('GETRANGE', record, '0', '11'), call('LLEN', inbox)
  if not mine(lease, ARGV[a + 1]) then
    outcome = 2
  elseif (kept == '' and zero or string.sub(kept, 1, 8)) ~= string.sub(ARGV[a + 3], 1, 8) then
    outcome = 1
    -- The answer to this very commit was lost on its way: what is stored is what it wrote.
    if again then
      local is = call('GET', record)
      if is and string.sub(is, 1, 8) == string.sub(document, 1, 8) and string.sub(is, 13) == string.sub(document, 13) then
        outcome = 3
      end
    end
  elseif flags % 2 == 1 and unread > own then
    outcome = 1
  -- A fail-over may have lost what the turn has read, and others stand in its place.
  elseif ARGV[a + 10] ~= '0' and string.sub(call('LINDEX', inbox, number(ARGV[a + 10] - 1)) or '', 1, 8) ~= string.sub(ARGV[a + 3], 9) then
    outcome = 1
  elseif more and #more.scattered > 0 and not all_there(inbox, more.scattered) then
    outcome = 1
  elseif more and more.books ~= '' and is_paused(lease, more.books) then
    outcome = 4
  -- The first write, and the last check: nothing was written yet when there is nothing to delete.
  elseif settled ~= '' and call('DEL', p .. 'effect:' .. settled) == 0 then
    outcome = 1
  end

  if outcome == 0 then
    if more and more.erase then
      erase(p, id)
      unread = 0
    else
      if kept ~= '' and string.sub(kept, 9, 12) > string.sub(document, 9, 12) then
        document = string.sub(document, 1, 8) .. string.sub(kept, 9, 12) .. string.sub(document, 13)
      end
      call('SET', record, document)
      local first, wake_at = ARGV[a + 10], ARGV[a + 7]
      local consumed = tonumber(first)
      if consumed > 0 then call('LTRIM', inbox, first, '-1') end
      if more then
        if more.what == 'account' then call('SET', p .. 'account:' .. id, more.balance) end
        if #more.scattered > 0 then drop(inbox, more.scattered) end
        consumed = consumed + #more.scattered
      end
      unread = unread - consumed
      if unread > 0 then
        call('ZADD', p .. 'ready', now_text, id)
      elseif consumed > 0 or ARGV[a + 9] ~= '' then
        call('ZREM', p .. 'ready', id)
      end
      if wake_at ~= '' then
        call('ZADD', p .. 'wake', wake_at, id)
      elseif ARGV[a + 8] ~= '' then
        call('ZREM', p .. 'wake', id)
      end
    end
    if settled ~= '' then call('ZREM', p .. 'outbox', settled) end
    if more then write_more(p, more) end
    if effects > 0 then
      local due = flags % 4 >= 2 and number(now + tonumber(ARGV[a + 12])) .. '.5' or now_text
      for i = a + 14, a + 12 + 2 * effects, 2 do
        call('SET', p .. 'effect:' .. ARGV[i], ARGV[i + 1])
        call('ZADD', p .. 'outbox', due, ARGV[i])
      end
    end
    if ARGV[a + 6] ~= '' then call('XADD', p .. 'facts', '*', 't', ARGV[a + 6]) end
  elseif outcome == 1 or outcome == 4 then
    free(p, id, ARGV[a + 9], ARGV[a + 8])
  end
  if outcome == 3 then outcome = 0 end
  replies[item] = {outcome, unread > 0 and 1 or 0}
end
return {now_text, replies, heard}
