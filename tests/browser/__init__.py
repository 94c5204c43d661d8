"""A package, so that its tests share a browser, which ends before other tests begin."""
