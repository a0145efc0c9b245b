"""SGLang on a CPU: what it needs there, and what makes it faster."""
