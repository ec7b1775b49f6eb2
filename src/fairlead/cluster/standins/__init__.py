"""Stand-ins: what runs for containers whose image is mapped to no program. One process serves those of every pod."""
