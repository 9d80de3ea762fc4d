-- The outcome of a turn. KEYS: lease head record account inbox ready wake outbox facts live crashes
-- erased quarantine, then the settled effect, the withdrawn ones, the new ones. ARGV: as read below.
-- Replies: 0 done, 1 conflict, 2 not the owner; then whether she is ready again.
while at_key < #KEYS do
  local lease, head, record, account, inbox, ready = key(), key(), key(), key(), key(), key()
  local wake, outbox, facts, live, crashes, erased, aside = key(), key(), key(), key(), key(), key(), key()
  local epoch, id, base, flags = arg(), arg(), arg(), arg()
  local document, balance, wake_at, told, old_wake, old_ready = arg(), arg(), arg(), arg(), arg(), arg()
  local first = tonumber(arg())
  local scattered, versions, uncounted, withdrawn, effects = {}, {}, {}, {}, {}
  for i = 1, tonumber(arg()) do scattered[i] = arg() end
  for i = 1, tonumber(arg()) do versions[i] = {arg(), arg()} end
  for i = 1, tonumber(arg()) do uncounted[i] = arg() end
  local settled = arg()
  local settled_key = settled ~= '' and key() or nil
  for i = 1, tonumber(arg()) do withdrawn[i] = {key(), arg()} end
  local term = tonumber(arg())
  for i = 1, tonumber(arg()) do effects[i] = {key(), arg(), arg()} end
  local function flag(name) return string.find(flags, name, 1, true) ~= nil end

  local outcome, kept = 0, call('GETRANGE', record, 0, 11)
  local version = #kept >= 8 and string.sub(kept, 1, 8) or string.rep('\0', 8)
  local unread = call('LLEN', inbox)
  if not mine(lease, epoch) then
    outcome = 2
  elseif version ~= base then
    outcome = 1
    -- The answer to this very commit was lost on its way: what is stored is what it wrote.
    if again then
      local is = call('GET', record)
      if is and string.sub(is, 1, 8) == string.sub(document, 1, 8) and string.sub(is, 13) == string.sub(document, 13) then
        outcome = 3
      end
    end
  elseif settled_key and call('EXISTS', settled_key) == 0 then
    outcome = 1
  elseif flag('taken') and unread > 0 then
    outcome = 1
  end

  if outcome == 0 then
    if flag('erase') then
      call('DEL', record, account, inbox)
      call('ZREM', ready, id)
      call('ZREM', wake, id)
      call('SADD', erased, redis.sha1hex(id))
      local rows = call('HGETALL', aside)
      for i = 1, #rows, 2 do
        local size = struct.unpack('>I2', rows[i + 1])
        if string.sub(rows[i + 1], 3, 2 + size) == id then call('HDEL', aside, rows[i]) end
      end
      call('HINCRBY', head, 'i', 0 - unread)
      unread = 0
    else
      if #kept == 12 and string.sub(kept, 9, 12) > string.sub(document, 9, 12) then
        document = string.sub(document, 1, 8) .. string.sub(kept, 9, 12) .. string.sub(document, 13)
      end
      call('SET', record, document)
      if flag('account') then call('SET', account, balance) end
      if first > 0 then call('LTRIM', inbox, first, -1) end
      if #scattered > 0 then
        local drop = {}
        for i = 1, #scattered do drop[scattered[i]] = true end
        for _, input in ipairs(call('LRANGE', inbox, 0, -1)) do
          if drop[string.sub(input, 1, 8)] then call('LREM', inbox, 1, input) end
        end
      end
      local consumed = first + #scattered
      if consumed > 0 then call('HINCRBY', head, 'i', -consumed) end
      unread = unread - consumed
      if unread > 0 then
        call('ZADD', ready, number(now), id)
      elseif old_ready ~= '' or consumed > 0 then
        call('ZREM', ready, id)
      end
      if wake_at ~= '' then call('ZADD', wake, wake_at, id) elseif old_wake ~= '' then call('ZREM', wake, id) end
    end
    if settled_key then
      call('DEL', settled_key)
      call('ZREM', outbox, settled)
    end
    for i = 1, #withdrawn do
      local sending = call('GETRANGE', withdrawn[i][1], 4, 4)
      if sending == '\0' or (sending ~= '' and flag('erase')) then
        call('DEL', withdrawn[i][1])
        call('ZREM', outbox, withdrawn[i][2])
      end
    end
    for i = 1, #effects do
      call('SET', effects[i][1], effects[i][3])
      call('ZADD', outbox, flag('hand') and number(now + term) .. '.5' or number(now), effects[i][2])
    end
    if told ~= '' then call('XADD', facts, '*', 't', told) end
    for i = 1, #versions do
      if call('HINCRBY', live, versions[i][1], versions[i][2]) <= 0 then call('HDEL', live, versions[i][1]) end
    end
    for i = 1, #uncounted do call('HDEL', crashes, uncounted[i]) end
  elseif outcome == 1 then
    free(inbox, ready, wake, id, old_ready, old_wake)
  end
  if outcome == 3 then outcome = 0 end
  replies[#replies + 1] = {outcome, unread > 0 and 1 or 0}
end
return {number(now), replies}
