"""What several tests share: a clock that stands still, the guards, programs started and stopped."""
