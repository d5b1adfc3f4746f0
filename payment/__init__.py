"""Payment: charges by card and wallet, refunds, the customers' wallets."""
