"""Billing: customer accounts, invoices, dunning and the ledger behind them."""
