"""What engines that call somebody share: places, retries, clean ends, and cutting at stops."""
