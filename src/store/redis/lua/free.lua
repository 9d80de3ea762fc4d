-- Gives customers back. KEYS: lease inbox ready wake crashes. ARGV: epoch id ready-at wake-at count
-- inputs-whose-crash-count-is-taken-back.
while at_key < #KEYS do
  local lease, inbox, ready, wake, crashes = key(), key(), key(), key(), key()
  local epoch, id, ready_at, wake_at = arg(), arg(), arg(), arg()
  local counted = {}
  for i = 1, tonumber(arg()) do counted[i] = arg() end
  if mine(lease, epoch) then
    for i = 1, #counted do
      if call('HINCRBY', crashes, counted[i], -1) <= 0 then call('HDEL', crashes, counted[i]) end
    end
    free(inbox, ready, wake, id, ready_at, wake_at)
    replies[#replies + 1] = 1
  else
    replies[#replies + 1] = 0
  end
end
return {number(now), replies}
