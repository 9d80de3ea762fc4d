-- Inputs that were in hand when their owner ended. KEYS: lease crashes. ARGV: epoch count input-numbers.
while at_key < #KEYS do
  local lease, crashes = key(), key()
  local epoch, counts = arg(), {}
  for i = 1, tonumber(arg()) do
    local name = arg()
    if mine(lease, epoch) then counts[i] = call('HINCRBY', crashes, name, 1) end
  end
  replies[#replies + 1] = counts
end
return {number(now), replies}
