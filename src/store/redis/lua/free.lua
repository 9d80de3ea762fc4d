-- Gives customers back. ARGV: epoch id ready-at wake-at n inputs-whose-crash-count-is-taken-back.
for item = 1, items do
  local p = prefix(KEYS[item])
  local epoch, id, ready_at, wake_at = arg(), arg(), arg(), arg()
  local counted = {}
  for i = 1, tonumber(arg()) do counted[i] = arg() end
  if mine(KEYS[item], epoch) then
    for _, input in ipairs(counted) do
      if call('HINCRBY', p .. 'crashes', input, '-1') <= 0 then call('HDEL', p .. 'crashes', input) end
    end
    free(p, id, ready_at, wake_at)
    replies[item] = 1
  else
    replies[item] = 0
  end
end
return {now_text, replies, heard}
