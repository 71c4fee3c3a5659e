"""Contenders measured beside securedata, in venvs of their own where necessary."""
