"""Streaming subresources of pods that carry several streams at once: exec, attach and portforward."""
