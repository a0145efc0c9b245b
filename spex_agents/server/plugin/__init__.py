"""Inside SGLang: its plugin, which every SGLang process loads."""
