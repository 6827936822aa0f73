def handlers(settings):
    return []
