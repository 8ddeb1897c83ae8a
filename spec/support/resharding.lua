local resharding = {}

-- The shard, of so many, that a guild belongs to. Ids need all of their 64 bits.
function resharding.shard_of(guild_id, total)
  return tonumber(loadstring("return " .. guild_id .. "ULL")() / 4194304ULL % total)
end

return resharding
