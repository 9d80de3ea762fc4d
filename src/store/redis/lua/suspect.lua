-- Inputs that were in hand when their owner ended. ARGV: epoch n input-numbers. Replies: their counts.
for item = 1, items do
  local crashes = prefix(KEYS[item]) .. 'crashes'
  local epoch, counts = arg(), {}
  for i = 1, tonumber(arg()) do
    local name = arg()
    if mine(KEYS[item], epoch) then counts[i] = call('HINCRBY', crashes, name, '1') end
  end
  replies[item] = counts
end
return {now_text, replies, heard}
