"""The server's side: SGLang with SPEX scheduling, what starts it, and a gateway for clients."""
