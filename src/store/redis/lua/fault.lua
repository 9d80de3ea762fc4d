-- A turn failed. ARGV: epoch id input-number ready-at wake-at cause most by keep; for a wake without inputs
-- the number is '' and wake-at its new instant. Replies: the count, or 0 when the input was put aside, or -1.
for item = 1, items do
  local p = prefix(KEYS[item])
  local epoch, id, seq, ready_at, wake_at, cause, most, by, keep = arg(), arg(), arg(), arg(), arg(), arg(), tonumber(arg()), arg(), arg()
  local count, inbox, aside = -1, p .. 'inbox:' .. id, p .. 'quarantine'
  if mine(KEYS[item], epoch) then
    local function row(input) return struct.pack('>I2', #id) .. id .. struct.pack('>I8I2', now, #cause) .. cause .. input end
    if seq ~= '' then
      local name = number(struct.unpack('>I8', seq))
      count = call('HINCRBY', p .. 'crashes', name, by)
      if count >= most then
        call('HDEL', p .. 'crashes', name)
        for _, input in ipairs(call('LRANGE', inbox, '0', '-1')) do
          if string.sub(input, 1, 8) == seq then
            call('LREM', inbox, '1', input)
            call('HSET', aside, name, row(input))
            count = 0
            break
          end
        end
      end
    elseif cause ~= '' then
      call('HSET', aside, number(now * 4096), row(''))
    end
    if keep == '' then free(p, id, ready_at, wake_at) end
  end
  replies[item] = count
end
return {now_text, replies, heard}
