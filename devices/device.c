/* The part that all devices share; see device.h. */
#include "devices/device.h"

void device_init(struct device *dev, const struct dev_class *class,
		 const struct dev_host *host)
{
	dev->class = class;
	dev->host = host;
	pthread_mutex_init(&dev->lock, NULL);
}
