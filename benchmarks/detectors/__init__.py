"""The trigger's detector beside an oracle and beside other people's: false alarms, delays, behaviour."""
