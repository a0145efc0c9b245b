"""What has been begun, by path: each thought and each reward once, whoever asks first."""
