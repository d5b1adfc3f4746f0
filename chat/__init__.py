"""Chat: conversations between customers and customer care, over REST and Socket.IO."""
