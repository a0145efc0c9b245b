"""Starting SGLang for a policy and a reward model, and saying what is missing for it."""
