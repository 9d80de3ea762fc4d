-- A turn failed. KEYS: lease head inbox ready wake crashes quarantine. ARGV: epoch id input-number ready-at
-- wake-at cause most counted-already; for a wake without inputs the number is '' and wake-at its new instant.
-- Replies: the count, or 0 when the input was put aside, or -1.
while at_key < #KEYS do
  local lease, head, inbox, ready, wake, crashes, aside = key(), key(), key(), key(), key(), key(), key()
  local epoch, id, seq, ready_at, wake_at, cause, most, by = arg(), arg(), arg(), arg(), arg(), arg(), tonumber(arg()), arg()
  local keep = arg()
  local count = -1
  if mine(lease, epoch) then
    if seq ~= '' then
      local name = number(struct.unpack('>I8', seq))
      count = call('HINCRBY', crashes, name, by)
      if count >= most then
        call('HDEL', crashes, name)
        for _, input in ipairs(call('LRANGE', inbox, 0, -1)) do
          if string.sub(input, 1, 8) == seq then
            call('LREM', inbox, 1, input)
            call('HINCRBY', head, 'i', -1)
            call('HSET', aside, name, struct.pack('>I2', #id) .. id .. struct.pack('>I8I2', now, #cause) .. cause .. input)
            count = 0
            break
          end
        end
      end
    elseif cause ~= '' then
      call('HSET', aside, number(now * 4096), struct.pack('>I2', #id) .. id .. struct.pack('>I8I2', now, #cause) .. cause)
    end
    if keep == '' then free(inbox, ready, wake, id, ready_at, wake_at) end
  end
  replies[#replies + 1] = count
end
return {number(now), replies}
