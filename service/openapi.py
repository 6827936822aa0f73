def handlers(settings): return []
