"""Job files that omnimat drafts for its users, from what their files and data sets hold."""
